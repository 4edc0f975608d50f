//! Verification against signed tokens: the tables are over real sockets in `tests/it`; here stands
//! what only the pure function shows.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn r_ver_031_no_text_makes_the_reader_panic(text in "[A-Za-z0-9_.=-]{0,200}") {
        drop(Unverified::read(Presented::new(&text), [0; 32]));
    }

    #[test]
    fn r_ver_031_no_json_makes_the_reader_panic(header in "\\PC{0,60}", payload in "\\PC{0,120}") {
        use base64::Engine;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let token = format!("{}.{}.AAAA", encode(&header), encode(&payload));
        drop(Unverified::read(Presented::new(&token), [0; 32]));
    }
}
