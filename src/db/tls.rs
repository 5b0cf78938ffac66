//! TLS with the meaning of libpq's `sslmode`, on rustls with the ring provider.
//!
//! `require` encrypts and does not look who answers, unless there is a file of root certificates;
//! `verify-ca` checks that a known authority signed the certificate; `verify-full` also that it
//! belongs to the host. The provider is passed explicitly, so that no other library of the process
//! can change it.

mod der;
mod verifier;

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::verifier::{ServerVerifier, Trust};
use crate::error::{Error, Result};

/// The protection that a connection asks for, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS only when the server refuses to go without.
    Allow,
    /// TLS when the server offers it.
    Prefer,
    /// Always TLS, whoever answers.
    Require,
    /// A certificate of a known authority.
    VerifyCa,
    /// A certificate of a known authority for this host.
    VerifyFull,
}

impl SslMode {
    /// The words of libpq; the first is the default.
    pub(super) const WORDS: [(&'static str, Self); 6] = [
        ("prefer", Self::Prefer),
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];

    /// Whether the certificate of the server must be checked.
    #[must_use]
    pub fn verifies(self) -> bool {
        self >= Self::VerifyCa
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::WORDS.iter().find(|(_, mode)| mode == self).map_or("", |(word, _)| word);
        formatter.write_str(word)
    }
}

/// Where the certificates of trusted authorities are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roots {
    None,
    System,
    File(PathBuf),
}

/// How TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Negotiation {
    /// PostgreSQL's own question first.
    Postgres,
    /// At once, as `PostgreSQL` 17 can.
    Direct,
}

/// A version of the TLS protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Tls12,
    Tls13,
}

/// What TLS to ask for, before any file is read.
#[derive(Debug, Clone)]
pub(super) struct TlsSettings {
    pub(super) mode: SslMode,
    pub(super) roots: Roots,
    pub(super) negotiation: Negotiation,
    /// Files of the client's certificate and its key.
    pub(super) client: Option<(PathBuf, Option<PathBuf>)>,
    pub(super) server_name_indication: bool,
    pub(super) oldest: Version,
    pub(super) newest: Version,
}

/// Reads the files and builds what the driver connects with.
pub(super) fn connector(settings: &TlsSettings) -> Result<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trust = match &settings.roots {
        Roots::None => Trust::Anybody,
        Roots::System => Trust::Authorities { roots: system_roots()?, certificates: Vec::new() },
        Roots::File(path) => read_roots(path, settings.mode)?,
    };
    let check_name = settings.mode == SslMode::VerifyFull;
    let algorithms = provider.signature_verification_algorithms;
    let verifier = ServerVerifier { trust, check_name, algorithms };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(settings)?)
        .map_err(|error| Error::invalid(format!("TLS cannot be set up: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &settings.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let (chain, key) = read_client(certificate, key.as_deref())?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                Error::invalid(format!(
                    "the client certificate {} and its key do not work together: {error}",
                    certificate.display()
                ))
                .hint("set sslcert and sslkey to a certificate and the key it was made for")
            })?
        }
    };
    config.enable_sni = settings.server_name_indication;
    if settings.negotiation == Negotiation::Direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(config))
}

fn versions(settings: &TlsSettings) -> Result<Vec<&'static SupportedProtocolVersion>> {
    let wanted = settings.oldest..=settings.newest;
    let versions: Vec<_> = [(Version::Tls12, &TLS12), (Version::Tls13, &TLS13)]
        .into_iter()
        .filter(|(version, _)| wanted.contains(version))
        .map(|(_, version)| version)
        .collect();
    if versions.is_empty() {
        return Err(Error::invalid(
            "ssl_min_protocol_version is newer than ssl_max_protocol_version",
        )
        .hint("leave one of them out"));
    }
    Ok(versions)
}

fn system_roots() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A store of a system has certificates that no library understands all of.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(Error::invalid("sslrootcert=system: this system has no root certificates")
            .details(found.errors.iter().map(ToString::to_string))
            .hint("install them (Debian: apt-get install ca-certificates), or set sslrootcert"));
    }
    Ok(roots)
}

fn read_roots(path: &Path, mode: SslMode) -> Result<Trust> {
    let certificates = read_certificates(path).map_err(|problem| {
        Error::invalid(format!(
            "the root certificates {} for sslmode={mode} cannot be read: {problem}",
            path.display()
        ))
        .hint(
            "put the certificate of the server's authority there, or set sslrootcert to its file; \
             for a public authority set sslrootcert=system and sslmode=verify-full",
        )
    })?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    Ok(Trust::Authorities { roots, certificates })
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| describe(&error))?;
    if certificates.is_empty() {
        return Err("it has no certificate in PEM form".to_owned());
    }
    Ok(certificates)
}

fn read_client(
    certificate: &Path,
    key: Option<&Path>,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = read_certificates(certificate).map_err(|problem| {
        let path = certificate.display();
        Error::invalid(format!("the client certificate {path} cannot be read: {problem}"))
            .hint("set sslcert to a file in PEM form, or sslcertmode=disable to send none")
    })?;
    let Some(key) = key else {
        return Err(Error::invalid("there is a client certificate (sslcert) and no key")
            .hint("set sslkey to the file of the key"));
    };
    check_key_mode(key)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| {
        let problem = describe(&error);
        Error::invalid(format!("the client key {} cannot be read: {problem}", key.display()))
            .hint("set sslkey to a key in PEM form that has no password")
    })?;
    Ok((chain, key))
}

/// libpq's rule: only the owner may read the key, or a group too when root owns it.
fn check_key_mode(path: &Path) -> Result<()> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| {
        Error::invalid(format!("the client key {shown} cannot be read: {error}"))
            .hint("set sslkey to the file of the key for sslcert")
    })?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.is_file() && metadata.mode() & forbidden != 0 {
        return Err(Error::invalid(format!("others may read the client key {shown}"))
            .hint(format!("run: chmod 600 {shown}")));
    }
    Ok(())
}

fn describe(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "nothing in PEM form is in it".to_owned(),
        other => format!("it is not in PEM form ({other})"),
    }
}
