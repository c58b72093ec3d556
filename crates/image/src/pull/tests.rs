//! Heads of answers, chunks, and which way each address is asked for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use super::http::{Agent, Head, parse_head};
use super::url::Url;

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

/// Answers one request on loopback; gives back its first line.
fn answers(listener: TcpListener, answer: String) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        let lines: Vec<String> =
            BufReader::new(stream.try_clone().expect("clone")).lines().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
        stream.write_all(answer.as_bytes()).expect("answer");
        lines.first().cloned().unwrap_or_default()
    })
}

#[test]
fn a_redirection_has_its_own_way() {
    static STOP: AtomicBool = AtomicBool::new(false);
    const FOUND: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere";
    let there = "http://elsewhere.example/there";
    for from_proxy in [true, false] {
        let (server, proxy) = (TcpListener::bind("127.0.0.1:0").expect("listen"), TcpListener::bind("127.0.0.1:0").expect("listen"));
        let here = format!("http://{}/here", server.local_addr().expect("address"));
        let through = Url::parse(&format!("http://{}", proxy.local_addr().expect("address"))).expect("address");
        let direct = |host: &str| host == "127.0.0.1";
        let agent = Agent {
            authorities: None,
            proxies: (Some(through), None),
            direct: &direct,
            idle: Duration::from_secs(10),
            stop: &STOP,
            registry: Default::default(),
        };
        let sent = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        let (first, to_server, to_proxy) =
            if from_proxy { (there, FOUND.to_owned(), sent(&here)) } else { (here.as_str(), sent(there), FOUND.to_owned()) };
        let (server, proxy) = (answers(server, to_server), answers(proxy, to_proxy));
        let mut answer = agent.get(&Url::parse(first).expect("address"), 0, None).expect("an answer");
        let mut text = String::new();
        answer.body.read_to_string(&mut text).expect("its body");
        assert_eq!(text, "here");
        assert_eq!(server.join().expect("server"), "GET /here HTTP/1.1", "not by way of the proxy");
        assert_eq!(proxy.join().expect("proxy"), format!("GET {there} HTTP/1.1"));
    }
}
