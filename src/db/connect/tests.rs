//! Which source wins, and what a target shows of itself.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::endpoint::Address;
use super::{Session, Sources, Target};
use crate::db::tls::SslMode;
use crate::error::Error;

fn sources(environment: &[(&str, &str)]) -> Sources {
    Sources {
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        user: Some("ann".to_owned()),
        ..Sources::default()
    }
}

fn resolve(environment: &[(&str, &str)]) -> Target {
    Target::resolve(&sources(environment)).unwrap()
}

fn refused(environment: &[(&str, &str)]) -> Error {
    Target::resolve(&sources(environment)).unwrap_err()
}

fn passwords(target: &Target) -> Vec<Option<&str>> {
    target
        .endpoints
        .iter()
        .map(|endpoint| endpoint.password.as_ref().map(super::endpoint::Password::expose))
        .collect()
}

#[test]
fn the_flag_wins_then_our_variable_then_the_common_one_then_the_file_then_pg() {
    let mut sources = sources(&[
        ("PUPCTL_DATABASE_URL", "postgres://own"),
        ("DATABASE_URL", "postgres://common"),
        ("PGHOST", "pg"),
    ]);
    sources.database_url = Some("postgres://flag".to_owned());
    sources.config_url = Some("postgres://file".to_owned());
    let mut seen = Vec::new();
    for next in ["flag", "PUPCTL_DATABASE_URL", "DATABASE_URL", "file", "PGHOST"] {
        let target = Target::resolve(&sources).unwrap();
        seen.push(format!("{} {}", target.origin(), target.host_label()));
        match next {
            "flag" => sources.database_url = None,
            "file" => sources.config_url = None,
            variable => drop(sources.environment.insert(variable.to_owned(), String::new())),
        }
    }
    assert_eq!(
        seen,
        [
            "--database-url flag:5432",
            "PUPCTL_DATABASE_URL own:5432",
            "DATABASE_URL common:5432",
            "pupctl.toml file:5432",
            "environment (PG*) pg:5432",
        ]
    );
}

#[test]
fn a_url_takes_what_it_leaves_out_from_the_service_then_the_variables() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services");
    std::fs::write(&file, "[events]\nport=6000\nhost=service\npassword=from-service\n").unwrap();
    let target = resolve(&[
        ("DATABASE_URL", "postgres://url/?service=events"),
        ("PGSERVICEFILE", file.to_str().unwrap()),
        ("PGPORT", "7000"),
        ("PGUSER", "variable"),
        ("PGSSLMODE", "disable"),
    ]);
    assert_eq!(target.to_string(), "postgres://variable@url:6000/variable");
    assert_eq!(passwords(&target), [Some("from-service")]);
    assert_eq!(target.ssl_mode, SslMode::Disable);
}

#[test]
fn the_service_file_of_the_home_folder_and_of_the_system() {
    let folder = tempfile::tempdir().unwrap();
    let mut sources =
        sources(&[("PGSERVICE", "events"), ("PGSYSCONFDIR", folder.path().to_str().unwrap())]);
    sources.home = Some(folder.path().to_owned());
    std::fs::write(folder.path().join("pg_service.conf"), "[events]\nhost=system\n").unwrap();
    assert_eq!(Target::resolve(&sources).unwrap().host_label(), "system:5432");
    std::fs::write(folder.path().join(".pg_service.conf"), "[events]\nhost=own\n").unwrap();
    assert_eq!(Target::resolve(&sources).unwrap().host_label(), "own:5432");
    sources.environment.insert("PGSERVICE".to_owned(), "nobody".to_owned());
    let error = Target::resolve(&sources).unwrap_err();
    assert_eq!(error.message(), "the connection service \"nobody\" (from PGSERVICE) is unknown");
    assert_eq!(error.detail_lines().len(), 2);
}

#[test]
fn the_password_file_is_asked_for_each_host() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".pgpass");
    std::fs::write(&file, "a:1:*:ann:first\nlocalhost:*:*:*:local\n*:2:*:*:second\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut sources =
        sources(&[("DATABASE_URL", "postgres://a:1,%2Ftmp:9,%2Fsrv:3,b:2/e?sslmode=disable")]);
    sources.home = Some(folder.path().to_owned());
    let target = Target::resolve(&sources).unwrap();
    assert_eq!(passwords(&target), [Some("first"), Some("local"), None, Some("second")]);
    sources.environment.insert("PGPASSWORD".to_owned(), "variable".to_owned());
    let target = Target::resolve(&sources).unwrap();
    assert_eq!(passwords(&target), [Some("variable"); 4]);
}

#[test]
fn defaults_are_those_of_libpq() {
    let target = resolve(&[("PGHOST", "db")]);
    assert_eq!(target.to_string(), "postgres://ann@db:5432/ann");
    assert_eq!(target.settings.connect_timeout, Some(Duration::from_secs(10)));
    assert_eq!(target.ssl_mode, SslMode::Prefer);
    let target = resolve(&[("PGHOST", "db"), ("PGUSER", "app"), ("PGCONNECT_TIMEOUT", "0")]);
    assert_eq!(target.to_string(), "postgres://app@db:5432/app");
    assert_eq!(target.settings.connect_timeout, None);
    // No server has its socket at this port, so the host is localhost.
    assert_eq!(resolve(&[("PGPORT", "1")]).host_label(), "localhost:1");
    let nobody = Sources { user: None, ..sources(&[]) };
    let error = Target::resolve(&nobody).unwrap_err();
    assert!(error.message().starts_with("the database user is not known"), "{error}");
}

#[test]
fn sockets_addresses_and_several_hosts() {
    let target = resolve(&[("DATABASE_URL", "postgres:///my%20db?host=/run/pg&port=5433")]);
    assert_eq!(target.to_string(), "postgres://ann@/my%20db?host=/run/pg&port=5433");
    assert_eq!(target.host_label(), "/run/pg/.s.PGSQL.5433");
    assert!(target.is_local() && target.tls.is_none());
    let target = resolve(&[("DATABASE_URL", "host=a,b hostaddr=10.0.0.1,::1 port=1")]);
    assert_eq!(target.host_label(), "a:1, b:1");
    assert!(!target.is_local());
    let target = resolve(&[("PGHOSTADDR", "::1")]);
    assert_eq!(target.host_label(), "[::1]:5432");
    assert!(matches!(&target.endpoints[0].address, Address::Tcp { address: Some(_), .. }));
    let error = refused(&[("PGHOST", "a,b"), ("PGPORT", "1,2,3")]);
    assert_eq!(error.message(), "port (from PGPORT) lists 3 entries for 2 hosts");
}

#[test]
fn values_that_cannot_be_are_named_with_their_place() {
    for (variable, value, message) in [
        ("PGPORT", "x", "port is \"x\" (from PGPORT), which is not 1 to 65535"),
        ("PGHOSTADDR", "db", "hostaddr \"db\" (from PGHOSTADDR) is no IP address"),
        ("PGCONNECT_TIMEOUT", "x", "connect_timeout is \"x\" (from PGCONNECT_TIMEOUT)"),
        ("PGSSLMODE", "full", "sslmode is \"full\" (from PGSSLMODE), which is not one of prefer"),
        ("PGTARGETSESSIONATTRS", "prefer-standby", "prefer-standby is not supported"),
        ("PGGSSENCMODE", "require", "gssencmode=require is not supported"),
        ("PGDATABASE", "postgres://a:secret@b", "dbname (from PGDATABASE) is a URL"),
        ("PGSSLCRL", "/a", "sslcrl (from PGSSLCRL) is not supported"),
        ("PGSSLNEGOTIATION", "direct", "sslnegotiation=direct works with sslmode=require"),
        ("PGSSLMAXPROTOCOLVERSION", "TLSv1", "ssl_max_protocol_version is \"TLSv1\""),
        ("DATABASE_URL", "mysql://db", "DATABASE_URL is not for PostgreSQL"),
        ("DATABASE_URL", "events", "the connection string from DATABASE_URL cannot be read"),
    ] {
        let error = refused(&[("PGHOST", "db"), (variable, value)]);
        assert!(error.message().contains(message), "{error}");
        assert!(error.hint_text().is_some(), "no hint: {error}");
    }
}

#[test]
fn root_certificates_as_libpq_finds_them() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.crt");
    let missing = missing.to_str().unwrap();
    let error =
        refused(&[("PGHOST", "db"), ("PGSSLMODE", "verify-ca"), ("PGSSLROOTCERT", missing)]);
    assert!(error.message().contains(missing), "{error}");
    assert!(error.hint_text().unwrap().contains("sslrootcert=system"));
    // Weaker modes use the file when it is there.
    resolve(&[("PGHOST", "db"), ("PGSSLMODE", "require"), ("PGSSLROOTCERT", missing)]);
    let error = refused(&[("PGHOST", "db"), ("PGSSLMODE", "verify-full")]);
    assert!(error.message().contains("needs root certificates"), "{error}");
    let error = refused(&[("PGHOST", "db"), ("PGSSLMODE", "require"), ("PGSSLROOTCERT", "system")]);
    assert!(error.message().contains("needs sslmode=verify-full"), "{error}");
}

#[test]
fn a_client_key_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["ann".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("a.crt"), folder.path().join("a.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let resolve_with = |key: &Path, mode| {
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(mode)).unwrap();
        let certificate = certificate.to_str().unwrap();
        Target::resolve(&sources(&[
            ("PGHOST", "db"),
            ("PGSSLCERT", certificate),
            ("PGSSLKEY", key.to_str().unwrap()),
        ]))
    };
    resolve_with(&key, 0o600).unwrap();
    let error = resolve_with(&key, 0o644).unwrap_err();
    assert!(error.message().starts_with("others may read the client key"), "{error}");
    assert!(error.hint_text().unwrap().starts_with("run: chmod 600"));
    let error = resolve_with(&certificate, 0o600).unwrap_err();
    assert!(error.message().contains("nothing in PEM form is in it"), "{error}");
}

#[test]
fn nothing_shows_the_password() {
    let mut sources = sources(&[
        ("DATABASE_URL", "postgres://app:top%20secret@db/e?sslmode=require"),
        ("PGPASSWORD", "secret"),
    ]);
    sources.config_url = Some("postgres://:secret@db".to_owned());
    let target = Target::resolve(&sources).unwrap();
    assert_eq!(passwords(&target), [Some("top secret")]);
    let shown = format!("{sources:?} {target:?} {target}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(shown.contains("postgres://app@db:5432/e, sslmode=require, from DATABASE_URL"));
}

#[test]
fn a_session_is_named_after_its_command() {
    assert_eq!(Session::of("partitions ensure").application_name, "pupctl/partitions ensure");
}
