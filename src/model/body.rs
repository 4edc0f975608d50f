//! The body of a call that was read whole to be judged.

use bytes::Bytes;

use super::exact::Json;

/// A JSON body. Its octets are what is forwarded, so that what was judged is what is done.
#[derive(Clone, Debug)]
pub struct Body {
    /// The octets, as they came.
    pub octets: Bytes,
    /// What they say.
    pub json: Json,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}
