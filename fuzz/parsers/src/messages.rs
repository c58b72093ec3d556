//! What comes over sockets.

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
