use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::json;

use super::*;

fn list(bits: u8, bytes: &[u8]) -> StatusList {
    StatusList { signer: Signer::default(), bits, bytes: bytes.into(), expires: None, ttl: None }
}

/// The examples of the draft: `[0xb9, 0xa3]` of one bit, `[0xc9, 0x44, 0xf9]` of two.
#[test]
fn r_ver_020_entries_begin_at_the_least_significant_bit() {
    let one = list(1, &[0xb9, 0xa3]);
    let found: Vec<_> = (0..16).map(|index| one.status(index).unwrap()).collect();
    assert_eq!(found, [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]);
    assert_eq!(one.status(16), None);
    let two = list(2, &[0xc9, 0x44, 0xf9]);
    let found: Vec<_> = (0..12).map(|index| two.status(index).unwrap()).collect();
    assert_eq!(found, [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]);
    assert_eq!(list(4, &[0x21]).status(1), Some(2));
    assert_eq!(list(8, &[7, 255]).status(1), Some(255));
    for index in [u64::MAX, 1 << 40] {
        assert_eq!(two.status(index), None);
    }
}

#[test]
fn r_ver_020_inflation_is_bounded() {
    let pack = |bytes: &[u8]| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        URL_SAFE_NO_PAD.encode(encoder.finish().unwrap())
    };
    assert_eq!(&*inflate(&pack(b"abc")).unwrap(), b"abc");
    let most = usize::try_from(MAX_LIST).unwrap();
    assert_eq!(inflate(&pack(&vec![0; most])).unwrap().len(), most);
    assert_eq!(inflate(&pack(&vec![0; most + 1])), Err(unusable("lst")));
    assert_eq!(inflate(pack(b"abc").get(..8).unwrap()), Err(unusable("lst")), "cut short");
    assert_eq!(inflate("YWJj"), Err(unusable("lst")), "not zlib");
}

/// One mebibyte of zeros, flushed so that it can stand any number of times: a gibibyte from a kilobyte
/// each.
#[test]
fn r_ver_020_a_gibibyte_from_a_mebibyte_is_given_up_early() {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; 1 << 20]).unwrap();
    encoder.flush().unwrap();
    let block = encoder.get_ref().clone();
    let mut bomb = vec![0x78, 0xda];
    for _ in 0..1_024 {
        bomb.extend_from_slice(&block);
    }
    assert!(bomb.len() < 2 << 20, "{}", bomb.len());
    assert_eq!(inflate(&URL_SAFE_NO_PAD.encode(bomb)), Err(unusable("lst")));
}

#[test]
fn a_list_is_usable_no_longer_than_each_of_its_bounds() {
    let at = Timestamp::from_seconds;
    let day = Duration::from_hours(24);
    for (expires, ttl, max_age, until) in [
        (None, None, 60, 1_060),
        (None, Some(30), 60, 1_030),
        (None, Some(90), 60, 1_060),
        (Some(1_010), Some(30), 60, 1_010),
        (Some(9_000), None, 60, 1_060),
    ] {
        let list = StatusList {
            expires: expires.map(at),
            ttl: ttl.map(Duration::from_secs),
            ..list(1, &[])
        };
        assert_eq!(list.usable_until(at(1_000), Duration::from_secs(max_age)), at(until));
    }
    assert_eq!(list(1, &[]).usable_until(at(0), day), at(86_400));
}

#[test]
fn a_reference_that_cannot_be_checked_refuses_the_token() {
    let mut issuer = Issuer::named("https://as.test");
    issuer.liveness.list_origins = vec!["https://as.test".into(), "http://127.0.0.1:9".into()];
    let read = |issuer: &Issuer, status: Value| {
        let payload = Map::from_iter([("status".to_owned(), status)]);
        Reference::read(&payload, issuer).map_err(|denial| (denial.reason, denial.about.unwrap()))
    };
    let reference = |uri: &str| json!({"status_list": {"idx": 7, "uri": uri}});
    for good in ["https://as.test/lists/1?x=y", "https://AS.test/1", "http://127.0.0.1:9/1"] {
        assert_eq!(read(&issuer, reference(good)).unwrap().unwrap().index, 7, "{good}");
    }
    for uri in [
        "http://as.test/1",
        "https://as.test:8443/1",
        "https://as.test.evil.test/1",
        "https://as.test@evil.test/1",
        "https://evil.test/as.test",
        "file:///etc/passwd",
        "/1",
        "",
    ] {
        assert_eq!(read(&issuer, reference(uri)), Err((Reason::StatusUnchecked, "uri")), "{uri}");
    }
    let two = json!({"status_list": {"idx": 7, "uri": "https://as.test/1"}, "other": {}});
    assert_eq!(read(&issuer, two), Err((Reason::StatusUnchecked, "status")));
    for bad in [
        json!(7),
        json!({"status_list": 7}),
        json!({"status_list": {"idx": -1, "uri": "https://as.test/1"}}),
        json!({"status_list": {"idx": "1", "uri": "https://as.test/1"}}),
        json!({"status_list": {"idx": 1}}),
        json!({}),
    ] {
        assert_eq!(read(&issuer, bad), Err((Reason::ClaimMalformed, "status")));
    }
    assert_eq!(Reference::read(&Map::new(), &issuer), Ok(None));
    issuer.liveness.status_required = true;
    let missing = Denial::about(Reason::ClaimMissing, "status");
    assert_eq!(Reference::read(&Map::new(), &issuer), Err(missing));
}
