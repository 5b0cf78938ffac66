//! Checks the certificate of a server as libpq does.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::der::public_key;

/// Whose certificates are accepted.
#[derive(Debug)]
pub(super) enum Trust {
    /// Everybody's: the connection is encrypted, and that is all that was asked for.
    Anybody,
    /// Those that one of the authorities signed, and those that are themselves in the file.
    Authorities { roots: RootCertStore, certificates: Vec<CertificateDer<'static>> },
}

/// The check of one connection. The signature of the handshake is always verified: it proves that
/// the server owns the key of its certificate, on which channel binding relies.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) trust: Trust,
    pub(super) check_name: bool,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Trust::Authorities { roots, certificates } = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)
            .or_else(|error| {
            // The manual of PostgreSQL makes a self-signed certificate that claims to be an
            // authority, which the check refuses from a server. The dates are checked before.
            let trusted = certificates.iter().any(|trusted| trusted == end_entity);
            if trusted && is_authority(&error) { Ok(()) } else { Err(error) }
        })?;
        if self.check_name {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let verified = verify_tls13_signature(message, certificate, signed, &self.algorithms);
        // OpenSSL before 3.2 makes version 1 certificates unless told otherwise, and PostgreSQL's
        // manual does not tell. They are not understood as certificates, but their keys are.
        match (&verified, public_key(certificate)) {
            (Err(Error::InvalidCertificate(CertificateError::Other(_))), Some(key)) => {
                verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
            }
            _ => verified,
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether the check failed only since the certificate is one of an authority.
fn is_authority(error: &Error) -> bool {
    // The reason is an error of a private dependency of rustls, which shows as its name.
    matches!(error, Error::InvalidCertificate(CertificateError::Other(other))
        if other.to_string().contains("CaUsedAsEndEntity"))
}
