//! Nonces for DPoP proofs (RFC 9449 §8, §9): a proof that carries one was made after the gate gave it
//! out. Nothing is stored: a nonce is its own time, under a key of this process.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::time::Timestamp;

/// How long a nonce is taken. A client hears of a new one with every answer.
pub const LIFETIME: Duration = Duration::from_mins(5);
/// How long the same nonce is given out, in seconds.
const STEP: u64 = 30;
/// Bytes of the HMAC that a nonce carries.
const TAG: usize = 16;

/// What nonces are made and recognized with.
pub struct NonceKey(hmac::Key);

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NonceKey")
    }
}

impl NonceKey {
    /// A key of random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The nonce to give out at `now`.
    pub fn at(&self, now: Timestamp) -> String {
        self.made((now.seconds() / STEP).saturating_mul(STEP))
    }

    /// Whether `nonce` was given out by this key, not longer than [`LIFETIME`] ago.
    pub fn accepts(&self, nonce: &str, now: Timestamp) -> bool {
        let bytes = URL_SAFE_NO_PAD.decode(nonce).unwrap_or_default();
        let Some((time, tag)) = bytes.split_first_chunk::<8>() else { return false };
        let given = Timestamp::from_seconds(u64::from_be_bytes(*time));
        let own = self.tag(*time);
        tag.len() == TAG
            && aws_lc_rs::constant_time::verify_slices_are_equal(tag, &own).is_ok()
            && given <= now
            && now.since(given) <= LIFETIME
    }

    fn made(&self, seconds: u64) -> String {
        let time = seconds.to_be_bytes();
        URL_SAFE_NO_PAD.encode([&time[..], &self.tag(time)].concat())
    }

    fn tag(&self, time: [u8; 8]) -> [u8; TAG] {
        let mac = hmac::sign(&self.0, &time);
        // HMAC-SHA-256 is longer than what is kept of it.
        mac.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_ver_013_a_nonce_is_taken_for_its_time_under_its_key_alone() {
        let (own, other) = (NonceKey::new(&[1; 32]), NonceKey::new(&[2; 32]));
        let given = Timestamp::from_seconds(1_790_000_010);
        let nonce = own.at(given);
        for (key, nonce, now, expected) in [
            (&own, nonce.clone(), given, true),
            (&own, nonce.clone(), given.after(Duration::from_mins(4)), true),
            (&own, nonce.clone(), given.after(LIFETIME + Duration::from_secs(1)), false),
            (&own, nonce.clone(), given.before(Duration::from_mins(1)), false),
            (&other, nonce.clone(), given, false),
            (&own, format!("{nonce}="), given, false),
            (&own, nonce.replace('A', "B"), given, false),
            (
                &own,
                URL_SAFE_NO_PAD.encode([&1_790_000_010_u64.to_be_bytes()[..], &[0; 16]].concat()),
                given,
                false,
            ),
            (&own, nonce.chars().take(11).collect(), given, false),
            (&own, String::new(), given, false),
        ] {
            assert_eq!(key.accepts(&nonce, now), expected, "{nonce}");
        }
        assert_eq!(
            own.at(given),
            own.at(given.after(Duration::from_secs(15))),
            "one for each step"
        );
    }
}
