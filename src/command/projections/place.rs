//! Where the checkpoints are, and who is waited for.

use postgres::Client;

use crate::command::context::{Context, layout_of};
use crate::db::inspect::{self, Depth};
use crate::db::watch::Watch;
use crate::error::{Error, Kind, Result};
use crate::layout::name::QualifiedName;
use crate::layout::{Layout, Role};

/// A session on the store, and its tables.
pub(super) struct Place {
    /// The session.
    pub(super) client: Client,
    /// The table of checkpoints.
    pub(super) checkpoints: QualifiedName,
    /// The table of events.
    pub(super) events: QualifiedName,
    /// What the store looks like.
    pub(super) layout: Layout,
}

impl Place {
    /// Connects; for writing only where rows can be written.
    pub(super) fn open(context: &Context, writes: bool) -> anyhow::Result<Self> {
        let mut store = context.open_for_writing()?;
        let server = inspect::server(&mut store.client)?;
        if server.read_only && writes {
            return Err(Error::refused("the server or the session takes no writes")
                .hint("connect to the primary server, as a role whose sessions may write")
                .into());
        }
        let depth = Depth { indexes: false, ..Depth::default() };
        let catalog = context.inspect(&mut store.client, &store.schema, depth)?;
        let layout = layout_of(&catalog)?;
        let checkpoints = layout.checkpoints(&store.schema);
        let events = layout.table(&store.schema, Role::Events);
        Ok(Self { client: store.client, checkpoints, events, layout: layout.clone() })
    }

    /// Tells through a second session for whom the first one waits, and names them when it waits in
    /// vain.
    pub(super) fn watched<T>(
        &mut self,
        context: &Context,
        work: impl FnOnce(&mut Client) -> Result<T>,
    ) -> Result<T> {
        let output = context.output.clone();
        let begun = context
            .second_session()
            .and_then(|session| {
                Ok(Watch::begin(&mut self.client, session, move |line| output.say(line))?)
            })
            .inspect_err(|error| tracing::warn!("nobody tells who is waited for: {error:#}"));
        work(&mut self.client).map_err(|error| match &begun {
            Ok(watch) if error.kind() == Kind::LockTimeout => {
                let seen = watch.seen().into_iter();
                error.details(seen.map(|line| format!("waited for {line}")))
            }
            _ => error,
        })
    }
}
