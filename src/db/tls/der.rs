//! Finds the public key in a certificate of any version, walking the DER encoding.

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};

const SEQUENCE: u8 = 0x30;
/// The tag of the version, which a certificate of version 1 leaves out.
const VERSION: u8 = 0xa0;

/// The public key of the certificate with its algorithm; `None` when it is not a certificate.
pub(super) fn public_key(
    certificate: &CertificateDer<'_>,
) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let outer = Element::first(certificate)?.sequence()?;
    let mut rest = Element::first(outer)?.sequence()?;
    if Element::first(rest)?.tag == VERSION {
        rest = Element::first(rest)?.rest;
    }
    // Serial number, signature algorithm, issuer, validity and subject come before the key.
    for _ in 0..5 {
        rest = Element::first(rest)?.rest;
    }
    let key = Element::first(rest)?;
    key.sequence()?;
    Some(SubjectPublicKeyInfoDer::from(key.whole.to_vec()))
}

/// One element: its tag, its content, all of its bytes, and the bytes after it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (&tag, after) = bytes.split_first()?;
        let (&first, after) = after.split_first()?;
        let (length, after) = if first < 0x80 {
            (usize::from(first), after)
        } else {
            // The low bits count the bytes of the length. Three bytes are 16 MB already.
            let count = usize::from(first & 0x7f);
            let digits = after.get(..count).filter(|_| (1..=3).contains(&count))?;
            let length = digits.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, &after[count..])
        };
        let (content, rest) = after.split_at_checked(length)?;
        Some(Self { tag, content, whole: &bytes[..bytes.len() - rest.len()], rest })
    }

    fn sequence(&self) -> Option<&'a [u8]> {
        (self.tag == SEQUENCE).then_some(self.content)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_certificate_is_found() {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(vec!["db".to_owned()]).unwrap();
        let made = made.self_signed(&key).unwrap();
        let found = public_key(made.der()).unwrap();
        let parsed = rustls::server::ParsedCertificate::try_from(made.der()).unwrap();
        assert_eq!(found, parsed.subject_public_key_info());
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        let made = rcgen::generate_simple_self_signed(vec!["db".to_owned()]).unwrap();
        let bytes = made.cert.der();
        for length in 0..bytes.len() {
            let cut = CertificateDer::from(bytes[..length].to_vec());
            assert!(public_key(&cut).is_none(), "cut to {length} bytes");
        }
        assert!(public_key(&CertificateDer::from(vec![0x30, 0x84, 1, 1, 1, 1])).is_none());
    }
}
