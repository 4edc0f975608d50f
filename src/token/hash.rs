//! SHA-256 of what is presented, and how another party's hash is held against it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    // SHA-256 has 32 bytes. Were it not so, zeros would be nobody's hash.
    digest.as_ref().try_into().unwrap_or_default()
}

/// A hash or thumbprint as JSON carries it: 32 bytes in base64url without padding.
pub fn read(value: &Value) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(value.as_str()?).ok()?.try_into().ok()
}

/// Whether two hashes are the same, found in the same time wherever they differ.
pub fn equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// Whether `value` is the hash `expected`.
pub fn is(value: Option<&Value>, expected: &[u8; 32]) -> bool {
    value.and_then(read).is_some_and(|hash| equal(&hash, expected))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hash_is_base64url_of_sha256_and_nothing_else() {
        // FIPS 180-2, appendix B.1.
        let text = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";
        let abc = sha256(b"abc");
        assert!(is(Some(&json!(text)), &abc));
        for other in [json!(format!("{text}=")), json!(text.to_lowercase()), json!(7), json!("")] {
            assert!(!is(Some(&other), &abc), "{other}");
        }
        assert!(!is(None, &abc));
    }
}
