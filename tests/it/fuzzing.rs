//! The bodies of the fuzz targets, with generated input: what the fuzzer does for hours, for a moment.

use proptest::prelude::*;

#[path = "../fuzz/bodies.rs"]
mod bodies;

const CONFIGURATION: &str = include_str!("../../deploy/examples/sidecar/opgate.toml");

/// Bytes, texts, and texts made of the parts that matter.
fn input() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..512),
        "\\PC{0,256}".prop_map(String::into_bytes),
        "(/|%2[efEF5]|[.]{1,2}|;|a|GET /a HTTP/1.1\r\n|host: a\r\n|\r\n|\n|: |content-length: 1\r\n|\\{\"v\":1,\"seq\":[0-9]\\}){0,40}"
            .prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn no_input_breaks_a_parser(bytes in input()) {
        bodies::request_target(&bytes);
        bodies::header_set(&bytes);
        bodies::token(&bytes);
        bodies::configuration(&bytes);
        bodies::journal_tail(&bytes);
    }

    #[test]
    fn no_change_to_a_configuration_breaks_its_reader(at in 0..CONFIGURATION.len(), with in "\\PC{0,8}") {
        let mut bytes = CONFIGURATION.as_bytes().to_vec();
        let end = (at + with.len()).min(bytes.len());
        bytes.splice(at..end, with.bytes());
        bodies::configuration(&bytes);
    }
}
