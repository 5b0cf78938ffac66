//! Every `sslmode` against a server with TLS, with right and wrong certificates.

use std::path::Path;
use std::process::Command;

use pupctl::db::connect::Target;
use tempfile::TempDir;

use super::certificates::{Authority, Pair, self_signed_authority, write};
use super::server::{Folder, Server};
use super::{connect, fails, resolve_at, value};

const SETTINGS: &str = "\
ssl = on
ssl_cert_file = '../server.crt'
ssl_key_file = '../server.key'
ssl_ca_file = '../ca.crt'";

/// `plain` may come only without TLS, everybody else only with it.
const RULES: &str = "\
hostnossl all plain 127.0.0.1/32 trust
hostssl all plain 127.0.0.1/32 reject
hostssl all certified 127.0.0.1/32 cert
hostssl all app 127.0.0.1/32 scram-sha-256
hostssl all all 127.0.0.1/32 trust";

const IS_ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

struct Stage {
    server: Server,
    authority: Authority,
    /// A home folder without files that libpq would find.
    home: TempDir,
}

impl Stage {
    /// A server whose certificate is for `db.test` and 127.0.0.1.
    fn new() -> Self {
        let authority = Authority::new("the authority");
        let pair = authority.issue("db.test", &["db.test", "127.0.0.1"]);
        let folder = Folder::new();
        install(&folder, &pair);
        folder.write("ca.crt", &authority.pem());
        let server = Server::start(folder, SETTINGS, RULES);
        server.run(&[
            "CREATE ROLE plain LOGIN",
            "CREATE ROLE certified LOGIN",
            "CREATE ROLE app LOGIN PASSWORD 'top secret'",
        ]);
        Self { server, authority, home: tempfile::tempdir().unwrap() }
    }

    /// Writes the certificate of the authority, or of another one, for the client.
    fn roots(&self, pem: &str) -> String {
        path_text(&write(self.home.path(), "roots.crt", pem))
    }

    fn target(&self, host: &str, mode: &str, others: &[(&str, &str)]) -> Target {
        let port = self.server.port_text();
        let mut variables = vec![("PGHOST", host), ("PGHOSTADDR", "127.0.0.1")];
        variables.extend([("PGPORT", port.as_str()), ("PGSSLMODE", mode)]);
        variables.extend([("PGDATABASE", "postgres")]);
        variables.extend(others);
        resolve_at(self.home.path(), &variables)
    }

    /// Gives the server another certificate.
    fn present(&self, pair: &Pair) {
        install(&self.server.folder, pair);
        self.server.control("restart");
    }
}

fn install(folder: &Folder, pair: &Pair) {
    folder.write("server.crt", &pair.certificate);
    folder.write("server.key", &pair.key);
}

fn path_text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[track_caller]
fn encrypted(target: &Target) -> bool {
    value(&mut connect(target).unwrap(), IS_ENCRYPTED) == "t"
}

#[test]
fn each_mode_checks_what_it_says() {
    let stage = Stage::new();
    let right = stage.roots(&stage.authority.pem());
    let right = [("PGSSLROOTCERT", right.as_str())];
    let other = write(stage.home.path(), "other.crt", &Authority::new("another one").pem());
    let other = path_text(&other);
    let other = [("PGSSLROOTCERT", other.as_str())];

    assert!(encrypted(&stage.target("db.test", "verify-full", &right)));
    assert!(encrypted(&stage.target("127.0.0.1", "verify-full", &right)));
    assert!(encrypted(&stage.target("other.test", "verify-ca", &right)));
    assert!(encrypted(&stage.target("other.test", "require", &[])));
    let error = fails(
        &stage.target("other.test", "verify-full", &right),
        &format!(
            "the certificate of the server at other.test:{} is for another",
            stage.server.port
        ),
    );
    assert!(error.detail_lines()[0].contains("db.test"), "{error:?}");
    let unknown = "is not signed by an authority that sslrootcert has";
    fails(&stage.target("db.test", "verify-full", &other), unknown);
    fails(&stage.target("db.test", "verify-ca", &other), unknown);
    let system = [("PGSSLROOTCERT", "system")];
    fails(&stage.target("db.test", "verify-full", &system), unknown);
    // A file of roots makes require check them, as in libpq.
    fails(&stage.target("db.test", "require", &other), unknown);
    for version in ["TLSv1.2", "TLSv1.3"] {
        let only =
            [right[0], ("PGSSLMINPROTOCOLVERSION", version), ("PGSSLMAXPROTOCOLVERSION", version)];
        assert!(encrypted(&stage.target("db.test", "verify-full", &only)), "{version}");
    }
}

#[test]
fn the_default_root_file_is_used() {
    let stage = Stage::new();
    let folder = stage.home.path().join(".postgresql");
    std::fs::create_dir(&folder).unwrap();
    write(&folder, "root.crt", &stage.authority.pem());
    assert!(encrypted(&stage.target("db.test", "verify-full", &[])));
    write(&folder, "root.crt", &Authority::new("another one").pem());
    fails(&stage.target("db.test", "require", &[]), "is not signed by an authority");
}

#[test]
fn weak_modes_go_with_and_without_tls() {
    let stage = Stage::new();
    let plain = ("PGUSER", "plain");
    assert!(encrypted(&stage.target("db.test", "prefer", &[])));
    assert!(encrypted(&stage.target("db.test", "allow", &[])));
    assert!(!encrypted(&stage.target("db.test", "prefer", &[plain])));
    assert!(!encrypted(&stage.target("db.test", "allow", &[plain])));
    assert!(!encrypted(&stage.target("db.test", "disable", &[plain])));
    let other = stage.roots(&Authority::new("another one").pem());
    let other = ("PGSSLROOTCERT", other.as_str());
    // The handshake fails, so it goes without, as libpq does.
    assert!(!encrypted(&stage.target("db.test", "prefer", &[plain, other])));
    let error = fails(&stage.target("db.test", "disable", &[]), "no pg_hba.conf entry");
    assert!(error.hint_text().unwrap().contains("sslmode=require"), "{error:?}");
    fails(&stage.target("db.test", "require", &[plain]), "does not let user \"plain\" in");
}

#[test]
fn passwords_are_bound_to_the_channel() {
    let stage = Stage::new();
    let login = [("PGUSER", "app"), ("PGPASSWORD", "top secret"), ("PGCHANNELBINDING", "require")];
    assert!(encrypted(&stage.target("db.test", "require", &login)));
    let guess = [("PGUSER", "app"), ("PGPASSWORD", "guess")];
    fails(&stage.target("db.test", "require", &guess), "refuses the password of user \"app\"");
}

#[test]
fn client_certificates_are_sent() {
    let stage = Stage::new();
    let home = stage.home.path();
    let send = |name: &str, pair: &Pair| {
        let certificate = path_text(&write(home, &format!("{name}.crt"), &pair.certificate));
        let key = path_text(&write(home, &format!("{name}.key"), &pair.key));
        let files = [("PGSSLCERT", certificate.as_str()), ("PGSSLKEY", key.as_str())];
        stage.target("db.test", "require", &[files[0], files[1], ("PGUSER", "certified")])
    };
    let mut client = connect(&send("right", &stage.authority.issue("certified", &[]))).unwrap();
    assert_eq!(value(&mut client, "SELECT current_user"), "certified");
    let none = stage.target("db.test", "require", &[("PGUSER", "certified")]);
    let error = fails(&none, "connection requires a valid client certificate");
    assert!(error.hint_text().unwrap().contains("sslcert"), "{error:?}");
    fails(&send("name", &stage.authority.issue("somebody", &[])), "\"certified\"");
    let stranger = Authority::new("another one").issue("certified", &[]);
    let error = fails(&send("stranger", &stranger), "ends the TLS handshake: UnknownCA");
    assert!(error.hint_text().unwrap().contains("client certificate"), "{error:?}");
}

#[test]
fn certificates_that_are_out_of_date_or_odd() {
    let stage = Stage::new();
    let right = stage.roots(&stage.authority.pem());
    let right = ("PGSSLROOTCERT", right.as_str());

    stage.present(&stage.authority.issue_expired(&["db.test"]));
    fails(&stage.target("db.test", "verify-full", &[right]), "has expired");
    assert!(encrypted(&stage.target("db.test", "require", &[])));

    let own = self_signed_authority(&["db.test"]);
    stage.present(&own);
    let trusted = path_text(&write(stage.home.path(), "own.crt", &own.certificate));
    let trusted = ("PGSSLROOTCERT", trusted.as_str());
    assert!(encrypted(&stage.target("db.test", "verify-full", &[trusted])));
    fails(&stage.target("other.test", "verify-full", &[trusted]), "is for another name");
    fails(&stage.target("db.test", "verify-full", &[right]), "is not");

    stage.present(&version_one(stage.home.path()));
    assert!(encrypted(&stage.target("db.test", "require", &[])));
    fails(&stage.target("db.test", "verify-full", &[right]), "of version 1");
}

/// A certificate as PostgreSQL's manual makes it with OpenSSL before 3.2.
fn version_one(folder: &Path) -> Pair {
    let script = "set -e
        openssl req -new -newkey rsa:2048 -nodes -subj /CN=db.test -keyout v1.key -out v1.csr
        openssl x509 -req -in v1.csr -days 30 -signkey v1.key -out v1.crt";
    let output = Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl is needed");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    Pair { certificate: read("v1.crt"), key: read("v1.key") }
}
