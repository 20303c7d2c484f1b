//! A client key as it lies in a file, encrypted with a passphrase or not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::pkcs5::{self, EncryptionScheme};
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::error::CredentialError;

/// Where a key begins and ends that a passphrase encrypts (PKCS #8, RFC 7468).
const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

/// Of an encrypted key, DER: one of RSA with 16,384 bits has 10 KiB.
const LENGTH: usize = 64 * 1024;

/// Iterations of PBKDF2: what RFC 8018 deems enough for the most critical keys. OpenSSL makes 2,048,
/// OWASP advises 600,000.
const ITERATIONS: u32 = 10_000_000;

/// Bytes that scrypt may fill: `128 × N × r`, as OWASP advises. OpenSSL fills 16 MiB.
const MEMORY: u64 = 128 * 1024 * 1024;

/// How often scrypt may fill them.
const PASSES: u16 = 4;

/// The private key of a PEM text. `passphrase` counts for an encrypted one only.
///
/// How much work and memory the passphrase costs is written in the file, so it is bounded.
pub(super) fn read(
    pem: &SecretString,
    passphrase: Option<&SecretString>,
) -> Result<Zeroizing<PrivateKeyDer<'static>>, CredentialError> {
    let text = pem.expose_secret();
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(CredentialError::KeyFormat);
    }
    if let Some(section) = encrypted_section(text) {
        let passphrase = passphrase.ok_or(CredentialError::EncryptedKey)?;
        return decrypt(section, passphrase);
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| malformed("there is no private key in PEM form in it"))
}

/// What is between the lines of an encrypted key; other sections and text around it do not matter.
fn encrypted_section(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(BEGIN)?;
    Some(rest.split_once(END).map_or("", |(section, _)| section))
}

fn decrypt(
    section: &str,
    passphrase: &SecretString,
) -> Result<Zeroizing<PrivateKeyDer<'static>>, CredentialError> {
    let base64: String = section.split_ascii_whitespace().collect();
    let der = STANDARD.decode(base64).ok();
    let der = der.filter(|der| (1..=LENGTH).contains(&der.len()));
    let der = der.ok_or_else(|| malformed("its encrypted section is cut off, or no base64"))?;
    let info = EncryptedPrivateKeyInfoRef::try_from(&der[..]);
    let info = info.map_err(|_| CredentialError::KeyScheme {
        problem: "it is of no known kind".to_owned(),
    })?;
    check_cost(&info.encryption_algorithm)?;
    let plain = info.decrypt(passphrase.expose_secret());
    let scheme = |problem: String| CredentialError::KeyScheme { problem };
    let plain = plain.map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::NoPbes1CryptSupport) => {
            scheme("PBES1 is out of use".to_owned())
        }
        pkcs8::Error::EncryptedPrivateKey(
            error @ (pkcs5::Error::UnsupportedAlgorithm { .. }
            | pkcs5::Error::AlgorithmParametersInvalid { .. }),
        ) => scheme(error.to_string()),
        // A wrong passphrase shows by what it leads to: padding or a structure that is none.
        _ => CredentialError::Passphrase,
    })?;
    PrivateKeyInfoRef::try_from(plain.as_bytes()).map_err(|_| CredentialError::Passphrase)?;
    let mut bytes = plain.to_bytes();
    let key = PrivatePkcs8KeyDer::from(std::mem::take(&mut *bytes));
    Ok(Zeroizing::new(PrivateKeyDer::Pkcs8(key)))
}

/// Refuses what would take minutes or gigabytes, before any of it is done.
fn check_cost(scheme: &EncryptionScheme) -> Result<(), CredentialError> {
    let problem = match scheme.pbes2().map(|parameters| &parameters.kdf) {
        Some(Kdf::Pbkdf2(kdf)) if !(1..=ITERATIONS).contains(&kdf.iteration_count) => {
            format!(
                "its {} iterations of PBKDF2 are not between 1 and {ITERATIONS}",
                kdf.iteration_count
            )
        }
        Some(Kdf::Scrypt(kdf))
            if kdf.cost_parameter < 2
                || !kdf.cost_parameter.is_power_of_two()
                || kdf
                    .cost_parameter
                    .saturating_mul(128 * u64::from(kdf.block_size))
                    > MEMORY
                || kdf.block_size == 0
                || !(1..=PASSES).contains(&kdf.parallelization) =>
        {
            format!(
                "scrypt with N={}, r={} and p={} is none, or costs more than 128 MiB or p={PASSES}",
                kdf.cost_parameter, kdf.block_size, kdf.parallelization
            )
        }
        _ => return Ok(()),
    };
    Err(CredentialError::KeyScheme { problem })
}

fn malformed(problem: &str) -> CredentialError {
    CredentialError::Malformed {
        what: "the client key".to_owned(),
        problem: problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pkcs8::der::Encode as _;
    use pkcs8::der::asn1::OctetStringRef;
    use pkcs8::pkcs5::pbes2::{
        EncryptionScheme as Cipher, Parameters, Pbkdf2Params, Pbkdf2Prf, ScryptParams,
    };
    use proptest::prelude::*;

    const AES: Cipher = Cipher::Aes256Cbc { iv: [7; 16] };

    fn cheap() -> Kdf {
        pbkdf2(10, Pbkdf2Prf::HmacWithSha256)
    }

    fn pbkdf2(iteration_count: u32, prf: Pbkdf2Prf) -> Kdf {
        Kdf::Pbkdf2(Pbkdf2Params {
            salt: salt(),
            iteration_count,
            key_length: None,
            prf,
        })
    }

    fn scrypt(cost_parameter: u64, block_size: u16, parallelization: u16) -> Kdf {
        Kdf::Scrypt(ScryptParams {
            salt: salt(),
            cost_parameter,
            block_size,
            parallelization,
            key_length: None,
        })
    }

    fn salt() -> pkcs5::pbes2::Salt {
        pkcs5::pbes2::Salt::new(*b"saltsalt").unwrap()
    }

    fn plain() -> Vec<u8> {
        rcgen::KeyPair::generate().unwrap().serialize_der()
    }

    fn pem(kdf: Kdf, encryption: Cipher, data: &[u8]) -> SecretString {
        let info = EncryptedPrivateKeyInfoRef {
            encryption_algorithm: Parameters { kdf, encryption }.into(),
            encrypted_data: OctetStringRef::new(data).unwrap(),
        };
        armoured(&info.to_der().unwrap())
    }

    fn armoured(der: &[u8]) -> SecretString {
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der)).into()
    }

    fn encrypted(kdf: Kdf, encryption: Cipher, plain: &[u8]) -> SecretString {
        let parameters = Parameters {
            kdf: kdf.clone(),
            encryption,
        };
        pem(
            kdf,
            encryption,
            &parameters.encrypt("opens", plain).unwrap(),
        )
    }

    fn refusal(pem: &SecretString, passphrase: &str) -> CredentialError {
        read(pem, Some(&passphrase.into())).unwrap_err()
    }

    #[test]
    fn a_passphrase_opens_each_kind_of_encryption() {
        let plain = plain();
        for (kdf, cipher) in [
            (cheap(), AES),
            (cheap(), Cipher::Aes128Cbc { iv: [7; 16] }),
            (cheap(), Cipher::Aes192Cbc { iv: [7; 16] }),
            (cheap(), Cipher::Aes256Gcm { nonce: [7; 12] }),
            (cheap(), Cipher::DesEde3Cbc { iv: [7; 8] }),
            (pbkdf2(10, Pbkdf2Prf::HmacWithSha1), AES),
            (pbkdf2(10, Pbkdf2Prf::HmacWithSha512), AES),
            (scrypt(16, 8, 1), AES),
        ] {
            let pem = encrypted(kdf.clone(), cipher, &plain);
            let key = read(&pem, Some(&"opens".into())).unwrap();
            assert_eq!(key.secret_der(), plain, "{kdf:?} {cipher:?}");
            for wrong in ["opens ", "", "Opens"] {
                let error = refusal(&pem, wrong);
                assert!(matches!(error, CredentialError::Passphrase), "{error:?}");
            }
            let error = read(&pem, None).unwrap_err();
            assert!(matches!(error, CredentialError::EncryptedKey), "{error:?}");
        }
    }

    #[test]
    fn text_around_the_key_does_not_matter() {
        let plain = plain();
        let pem = encrypted(cheap(), AES, &plain);
        let pem = pem.expose_secret().replace('\n', "\r\n");
        let bag =
            format!("Bag Attributes\n    friendlyName: ann\n{pem}-----BEGIN CERTIFICATE-----");
        let key = read(&bag.into(), Some(&"opens".into())).unwrap();
        assert_eq!(key.secret_der(), plain);
    }

    #[test]
    fn a_key_that_is_not_encrypted_needs_no_passphrase() {
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = key.serialize_pem().into();
        for passphrase in [None, Some(&"unused".into())] {
            assert_eq!(
                read(&pem, passphrase).unwrap().secret_der(),
                key.serialize_der()
            );
        }
    }

    #[test]
    fn what_costs_too_much_is_refused_before_it_is_done() {
        for (kdf, said) in [
            (pbkdf2(0, Pbkdf2Prf::HmacWithSha256), "0 iterations"),
            (
                pbkdf2(ITERATIONS + 1, Pbkdf2Prf::HmacWithSha256),
                "10000001 iterations",
            ),
            (pbkdf2(u32::MAX, Pbkdf2Prf::HmacWithSha1), "4294967295"),
            (scrypt(0, 8, 1), "N=0"),
            (scrypt(1, 8, 1), "N=1"),
            (scrypt(24, 8, 1), "N=24"),
            (scrypt(1 << 18, 8, 1), "N=262144"),
            (scrypt(1 << 17, 9, 1), "r=9"),
            (scrypt(1 << 63, u16::MAX, 1), "r=65535"),
            (scrypt(16, 0, 1), "r=0"),
            (scrypt(16, 8, 5), "p=5"),
            (scrypt(16, 8, 0), "p=0"),
        ] {
            let error = refusal(&pem(kdf.clone(), AES, &[0; 32]), "opens");
            assert!(
                matches!(&error, CredentialError::KeyScheme { problem } if problem.contains(said)),
                "{kdf:?} {error:?}"
            );
        }
    }

    #[test]
    fn what_is_no_key_is_told_from_a_wrong_passphrase() {
        let der = encrypted(cheap(), AES, &plain());
        let section = encrypted_section(der.expose_secret()).unwrap();
        let cut = &section[..section.len() / 2];
        for (pem, said) in [
            (format!("{BEGIN}\n{cut}"), "cut off"),
            (format!("{BEGIN}\n{END}"), "cut off"),
            (format!("{BEGIN}\nhunter22!\n{END}"), "no base64"),
            (format!("{BEGIN}\n{}\n{END}", "AAAA".repeat(LENGTH / 3 + 1)), "cut off"),
            (format!("{BEGIN}\n{cut}\n{END}"), "no known kind"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----".to_owned(),
                "OpenSSL's own",
            ),
        ] {
            let error = refusal(&pem.clone().into(), "opens");
            assert!(error.to_string().contains(said), "{error} {pem}");
            assert!(!error.to_string().contains("hunter22") && !error.advice().is_empty());
        }
        // What the passphrase opens must be a key as well.
        let error = refusal(&encrypted(cheap(), AES, b"\x30\x03\x02\x01\x00"), "opens");
        assert!(matches!(error, CredentialError::Passphrase), "{error:?}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_work_for_long(at in 0..200usize, byte: u8, tail in prop::collection::vec(any::<u8>(), 0..64)) {
            let sample = encrypted(scrypt(16, 8, 1), AES, &[0x30, 0]);
            let section = encrypted_section(sample.expose_secret()).unwrap().trim();
            let mut der = STANDARD.decode(section).unwrap();
            let at = at % der.len();
            der[at] = byte;
            prop_assert!(read(&armoured(&der), Some(&"opens".into())).is_err());
            prop_assert!(read(&armoured(&tail), Some(&"opens".into())).is_err());
        }
    }
}
