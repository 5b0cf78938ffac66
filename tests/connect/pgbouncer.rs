//! A temporary PgBouncer in front of a server.

use std::net::TcpStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::server::{Afterwards, Folder, Server, free_port};

/// A running pooler; it ends before its folder goes.
pub(crate) struct PgBouncer {
    _afterwards: Afterwards,
    _folder: Folder,
    pub(crate) port: u16,
}

impl PgBouncer {
    pub(crate) fn start(server: &Server, settings: &str) -> Self {
        let folder = Folder::new();
        let port = free_port();
        let users = folder.write("users", "\"postgres\" \"\"\n");
        let log = folder.path.join("log");
        let configuration = folder.write(
            "pgbouncer.ini",
            &format!(
                "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
                 logfile = {}\n{settings}\n",
                server.port,
                users.display(),
                log.display()
            ),
        );
        let script = "\"$1\" -q \"$2\" & pooler=$!; WAIT; kill $pooler; wait $pooler";
        let program = Path::new("pgbouncer");
        let afterwards = Afterwards::run(folder.command("sh"), script, &[program, &configuration]);
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "PgBouncer does not start: is it installed?");
            sleep(Duration::from_millis(20));
        }
        Self { _afterwards: afterwards, _folder: folder, port }
    }
}
