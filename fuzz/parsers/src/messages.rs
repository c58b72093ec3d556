//! What comes over sockets, and over the network from a machine.

use hostel_engine::network::{dhcp, dns};
use hostel_ipc::control::Request;
use hostel_ipc::notify::Message;

pub(crate) const REQUEST_SEEDS: &[&str] = &[
    "{\"method\":\"io.hostel.Machine.Ping\"}",
    "{\"method\":\"io.hostel.Machine.Kill\",\"parameters\":{\"signal\":15,\"all\":true}}",
    "{\"method\":\"io.hostel.Machine.Stop\",\"parameters\":{\"timeout_ms\":18446744073709551615}}",
    "{\"method\":\"\",\"parameters\":[[[[[[]]]]]]}",
    "null",
];

/// A request on a supervisor's control socket, or why it is refused.
pub fn control_request(data: &[u8]) {
    match Request::parse(data) {
        Ok(request) => assert!(!request.method().is_empty()),
        Err(refusal) => assert!(!refusal.message.is_empty()),
    }
}

/// A message of sd_notify(3): nothing in it reaches a terminal as control characters, nor without bound.
pub fn notify_message(data: &[u8]) {
    if let Some(status) = Message::parse(data).status {
        assert!(status.len() <= 512 && !status.chars().any(char::is_control));
    }
}

pub(crate) const DNS_SEEDS: &[&str] = &[
    "\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03web\x06hostel\0\0\x01\0\x01",
    "\0\0\0\0\0\x01\0\0\0\0\0\0\x012\x010\x03208\x0210\x07in-addr\x04arpa\0\0\x0c\0\x01",
    "\0\0\0\0\0\x01\0\0\0\0\0\0\x3fx\0\0\x01\0\x01",
];

/// A DHCP message of a machine: the answer is a message of a size that fits a datagram, and names no other client.
pub fn dhcp_query(data: &[u8]) {
    // The fixed header is 240 bytes that hardly any mutation gets right: beyond it, the options are what is tried.
    let mut whole = vec![0u8; 240];
    whole[..3].copy_from_slice(&[1, 1, 6]);
    whole[236..].copy_from_slice(&[99, 130, 83, 99]);
    whole.extend_from_slice(data);
    whole.push(255);
    let address = std::net::Ipv4Addr::new(10, 208, 0, 2);
    let (router, lease) = (std::net::Ipv4Addr::new(10, 208, 0, 1), std::time::Duration::from_secs(3600));
    let offer = dhcp::Offer { address, prefix: 30, router, hostname: "h".repeat(64), domain: "d".into(), lease };
    for bytes in [data, &whole] {
        let Some(query) = dhcp::Query::parse(bytes) else { continue };
        let Some(reply) = offer.answer(&query) else { continue };
        assert!((300..=576).contains(&reply.bytes.len()) && reply.bytes[28..34] == query.mac && reply.bytes[34..236].iter().all(|b| *b == 0));
        assert!(reply.bytes[16..20] == [0; 4] || reply.bytes[16..20] == address.octets());
    }
}

/// A DNS message of a machine or of a resolver: every answer of ours is a message again, to the same question.
pub fn dns_message(data: &[u8]) {
    let Some(question) = dns::Question::parse(data) else { return };
    if let dns::Subject::Machine(name) = question.subject() {
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')));
    }
    let answers = [question.found(std::net::Ipv4Addr::LOCALHOST), question.named("a.b"), question.unknown(), question.failed()];
    for answer in answers {
        assert!(answer.len() <= 512 && dns::Question::parse(&answer).is_some_and(|a| a.is_answer && a.id == question.id && a.same_as(&question)));
    }
}

/// A resolv.conf: at most three servers.
pub fn resolv_conf(data: &[u8]) {
    assert!(dns::name_servers(&String::from_utf8_lossy(data)).len() <= 3);
}
