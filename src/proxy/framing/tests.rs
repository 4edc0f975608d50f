use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { header_bytes: 512, header_count: 8 };

/// Gives `stream` in pieces of the sizes, and tells how much was released and what came of it.
fn feed(stream: &[u8], sizes: &[usize]) -> (usize, Next) {
    let mut framing = Framing::new(BOUNDS);
    let (mut released, mut given, mut turn) = (0, 0, 0);
    loop {
        let progress = framing.scan(&stream[released..given]);
        released += progress.release;
        let over = matches!(progress.next, Next::RefusedHead(_) | Next::RefusedBody(_));
        if over || given == stream.len() {
            return (released, progress.next);
        }
        given = stream.len().min(given + sizes[turn % sizes.len()].max(1));
        turn += 1;
    }
}

/// Every head that could be read in two ways, or in none.
pub(crate) const MALFORMED: &[&[u8]] = &[
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET / HTTP/1.1\r\nHost: a\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    b"GET / HTTP/1.1\rHost: a\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    b"GET / http/1.1\r\nHost: a\r\n\r\n",
    b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\tfolded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: \x0bb\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX\xc3: b\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
];

#[test]
fn a_head_that_can_be_read_in_two_ways_is_refused() {
    for head in MALFORMED {
        let expected = (0, Next::RefusedHead(Reason::HttpMalformed));
        for sizes in [&[1][..], &[4096], &[3, 1, 7]] {
            assert_eq!(feed(head, sizes), expected, "{}", head.escape_ascii());
        }
    }
}

#[test]
fn well_formed_messages_follow_each_other() {
    for stream in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b?x[]=%20 HTTP/1.0\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nHost:a \r\ncontent-length:\t3\r\n\r\n\r\n\0OPTIONS * HTTP/1.1\r\nhost:\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\nGET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        for sizes in [&[1][..], &[4096], &[5, 2]] {
            assert_eq!(feed(stream, sizes), (stream.len(), Next::More), "{}", stream.escape_ascii());
        }
    }
}

#[test]
fn a_chunked_body_that_can_be_read_in_two_ways_is_refused() {
    let head = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        &b"3;x=y\r\nabc\r\n"[..],
        b"3\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"\r\n",
        b"0x3\r\n",
        b"00000000000000003\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"0\r\nhost: b\r\n\r\n",
        b"0\r\ncontent-length: 1\r\n\r\n",
        b"0\r\n x\r\n\r\n",
    ] {
        let stream = [&head[..], body].concat();
        for sizes in [&[1][..], &[4096]] {
            let (_, next) = feed(&stream, sizes);
            let expected = Next::RefusedBody(Reason::HttpMalformed);
            assert_eq!(next, expected, "{}", body.escape_ascii());
        }
    }
}

#[test]
fn a_head_beyond_its_bounds_is_refused_as_too_large() {
    let long = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec(), vec![b'x'; 600]].concat();
    let many = [b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec(), b"X: y\r\n".repeat(8)].concat();
    for head in [long, many] {
        for sizes in [&[1][..], &[4096]] {
            assert_eq!(feed(&head, sizes), (0, Next::RefusedHead(Reason::HeaderTooLarge)));
        }
    }
}

#[test]
fn what_follows_a_request_for_another_protocol_waits() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    let stream = [&head[..], b"\0frame"].concat();
    let mut framing = Framing::new(BOUNDS);
    let waiting = Progress { release: head.len(), next: Next::Held };
    assert_eq!(framing.scan(&stream), waiting);
    framing.become_transparent();
    assert_eq!(framing.scan(b"\0frame"), Progress { release: 6, next: Next::More });

    let mut framing = Framing::new(BOUNDS);
    assert_eq!(framing.scan(&stream), waiting);
    framing.resume_http();
    let refused = Next::RefusedHead(Reason::HttpMalformed);
    assert_eq!(framing.scan(b"\0frame"), Progress { release: 0, next: refused });
}

#[test]
fn every_target_that_passes_is_one_that_the_http_types_can_hold() {
    for byte in 0..=u8::MAX {
        if class(byte) & TARGET != 0 {
            for text in [[b'/', byte], [b'?', byte]] {
                let target = [b"/", &text[..]].concat();
                assert!(Uri::try_from(&target[..]).is_ok(), "{}", target.escape_ascii());
            }
        }
    }
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_how_the_bytes_come(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "POST /a HTTP/1.1\r\n", "Host: a\r\n", "Content-Length: 3\r\n",
            "Transfer-Encoding: chunked\r\n", "\r\n", "3\r\n", "abc", "0\r\n", "\n", "\r", " ", "X: y\r\n",
            "Upgrade: x\r\n", "\0", ";",
        ]), 0..16),
        sizes in prop::collection::vec(1_usize..40, 1..6),
    ) {
        let stream = pieces.concat().into_bytes();
        prop_assert_eq!(feed(&stream, &sizes), feed(&stream, &[usize::MAX / 2]));
    }

    #[test]
    fn a_released_head_holds_no_bare_line_end(stream in "(GET / HTTP/1.1(\r\n|\n|\r))(Host: a(\r\n|\n|\r))(\r\n|\n|\r){1,2}") {
        let (released, _) = feed(stream.as_bytes(), &[4096]);
        let clean = stream.get(..released).unwrap().replace("\r\n", "");
        prop_assert!(!clean.contains(['\r', '\n']));
    }
}
