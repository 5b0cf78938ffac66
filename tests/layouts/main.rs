//! The seven layouts as the server's catalog has them: what `schema init` makes, what a second
//! run leaves alone, and what every other command says about it.

#[path = "../support/mod.rs"]
mod support;

mod contexts;
mod names;
mod settings;
mod seven;
mod upgrade;
