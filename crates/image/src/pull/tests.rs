//! Heads of answers, and chunks.

use super::http::{Head, parse_head};

#[test]
fn heads() {
    let parse = |text: &str| parse_head(text.replace('\n', "\r\n").as_bytes());
    let head = parse("HTTP/1.1 200 OK\nContent-Length: 42\nETag: \"abc\"\nLast-Modified: Thu, 01 Jan 1970 00:00:00 GMT\nX: y").unwrap();
    assert_eq!(head, Head { status: 200, length: Some(42), validator: Some("\"abc\"".into()), ..Head::default() });
    let head =
        parse("HTTP/1.1 206 Partial\ncontent-range: bytes 10-41/42\nETag: W/\"weak\"\nlast-modified: when\ntransfer-encoding: Chunked").unwrap();
    assert_eq!((head.range, head.chunked, head.validator.as_deref()), (Some((10, Some(42))), true, Some("when")));
    assert_eq!(parse("HTTP/1.0 302\nLocation: /x").unwrap().location.as_deref(), Some("/x"));
    for bad in [
        "",
        "HTTP/2 200",
        "HTTP/1.1 2x0 OK",
        "SSH-2.0-x",
        "HTTP/1.1 200 OK\nno colon",
        "HTTP/1.1 200 OK\nContent-Length: -1",
        "HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2",
        "HTTP/1.1 200 OK\nContent-Length: 99999999999999999999",
        "HTTP/1.1 200 OK\nTransfer-Encoding: gzip",
        "HTTP/1.1 206 OK\nContent-Range: bytes */5",
    ] {
        assert!(parse(bad).is_err(), "{bad:?}");
    }
    // What goes into a request again cannot bring a line of its own.
    assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\nETag: \"a\rX: y\"").unwrap().validator, None);
}
