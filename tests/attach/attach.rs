//! What joins, and what is refused before anything is changed.
