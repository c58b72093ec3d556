use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use super::*;

fn there_and_back(message: &Message) -> Message {
    let bytes = message.encode();
    assert_eq!(message_length(&bytes), Ok(Some(bytes.len())));
    assert_eq!(message_length(&bytes[..15]), Ok(None));
    Message::decode(&bytes).unwrap()
}

fn every_kind_of_value() -> Vec<Value> {
    let dictionary = Type::single("a{sv}").unwrap();
    let Type::Array(entry) = dictionary else { panic!("{dictionary:?}") };
    vec![
        Value::Byte(7),
        Value::Bool(true),
        Value::Int16(-2),
        Value::Uint16(65535),
        Value::Int32(-70000),
        Value::Uint32(4_000_000_000),
        Value::Int64(i64::MIN),
        Value::Uint64(u64::MAX),
        Value::Double(0.5),
        Value::text("zwölf"),
        Value::Path("/org/freedesktop/systemd1".into()),
        Value::Signature("a{sv}(ii)".into()),
        Value::Descriptor(1),
        Value::Bytes(vec![1, 2, 3]),
        Value::texts(["a", "bc", ""]),
        Value::Array(Type::Basic(b't'), vec![]),
        Value::Struct(vec![Value::Byte(1), Value::Uint64(2)]),
        Value::Array(*entry, vec![Value::Entry(Box::new((Value::text("key"), Value::Uint32(3).boxed())))]),
        Value::properties(vec![("Slice", Value::text("machine.slice")), ("PIDs", Value::Array(Type::Basic(b'u'), vec![Value::Uint32(1)]))]),
        Value::Bool(false).boxed().boxed(),
    ]
}

#[test]
fn values_there_and_back() {
    let mut message = Message::call(Some("a.b"), "/x", "c.d", "E", every_kind_of_value());
    message.serial = 9;
    message.no_reply = true;
    message.descriptors = 2;
    message.sender = Some(":1.2".into());
    assert_eq!(there_and_back(&message), message);
    for value in every_kind_of_value() {
        let mut one = Message::new(Kind::Return);
        (one.serial, one.reply_to, one.body) = (1, Some(8), vec![value]);
        assert_eq!(there_and_back(&one), one);
    }
}

/// Bytes as libsystemd sends them: the `Hello` of a client.
#[test]
fn bytes_of_others() {
    let hello = b"l\x01\0\x01\0\0\0\0\x01\0\0\0m\0\0\0\x01\x01o\0\x15\0\0\0/org/freedesktop/DBus\0\0\0\x03\x01s\0\x05\0\0\0Hello\0\0\0\x02\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0\x06\x01s\0\x14\0\0\0org.freedesktop.DBus\0\0\0\0";
    let bus = "org.freedesktop.DBus";
    let mut expected = Message::call(Some(bus), "/org/freedesktop/DBus", bus, "Hello", vec![]);
    expected.serial = 1;
    assert_eq!(Message::decode(hello).unwrap(), expected);
    // ours are as many, in another order
    assert_eq!(expected.encode().len(), hello.len());
    // most significant byte first: a signal with one u
    let big = b"B\x04\x01\x01\0\0\0\x04\0\0\0\x07\0\0\x007\x01\x01o\0\0\0\0\x01/\0\0\0\0\0\0\0\x02\x01s\0\0\0\0\x03a.b\0\0\0\0\0\x03\x01s\0\0\0\0\x01S\0\0\0\0\0\0\0\x08\x01g\0\x01u\0\0\0\0\0\x05";
    let message = Message::decode(big).unwrap();
    assert_eq!((message.kind, message.no_reply, message.serial, &*message.body), (Kind::Signal, true, 7, &[Value::Uint32(5)][..]));
}

#[test]
fn signatures() {
    for good in ["", "y", "a{sv}", "a(sasa{s(iv)})", "(y(y(y)))", "aaaas", "ybnqiuxtdsogh"] {
        let text: String = Type::all(good).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(text, good);
    }
    let deep = "a".repeat(40) + "y";
    let structs = "(".repeat(40) + "y" + &")".repeat(40);
    let long = "y".repeat(256);
    for bad in ["a", "(", "()", "(y", "a{s}", "a{vs}", "{sv}", "a{sss}", "z", ")", "a)", &deep, &structs, &long] {
        assert!(Type::all(bad).is_err(), "{bad}");
    }
    assert!(Type::single("yy").is_err() && Type::single("").is_err());
}

/// Every cut and every changed byte of a message is an error or another message, never a panic.
#[test]
fn damaged_messages() {
    let mut message = Message::call(None, "/x", "c.d", "E", every_kind_of_value());
    message.serial = 9;
    let bytes = message.encode();
    for length in 0..bytes.len() {
        assert!(Message::decode(&bytes[..length]).is_err(), "{length}");
    }
    for at in 0..bytes.len() {
        for flip in [1u8, 0x80, 0xff] {
            let mut other = bytes.clone();
            other[at] ^= flip;
            let _ = Message::decode(&other);
        }
    }
    // variants in variants
    let mut deep = Value::Byte(1);
    for _ in 0..100 {
        deep = deep.boxed();
    }
    message.body = vec![deep];
    assert_eq!(Message::decode(&message.encode()), Err(Malformed("its values are too deep")));
    // a great length costs nothing
    let mut long = b"l\x01\x00\x01".to_vec();
    long.extend(u32::MAX.to_le_bytes().repeat(3));
    assert_eq!(message_length(&long), Err(Malformed("it is too long")));
    for path in ["", "x", "/x/", "//", "/a b", "/ä"] {
        message.body = vec![Value::Path(path.into())];
        assert!(Message::decode(&message.encode()).is_err(), "{path:?}");
    }
}

/// A server that follows this script: what it expects, what it says.
fn serve(script: Vec<(Vec<u8>, Vec<u8>)>) -> (std::path::PathBuf, std::thread::JoinHandle<()>) {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("hostel-dbus-{}-{count}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for (expected, answer) in script {
            let mut got = vec![0; expected.len()];
            if stream.read_exact(&mut got).is_err() {
                return;
            }
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&expected));
            let _ = stream.write_all(&answer);
        }
        let _ = stream.read(&mut [0; 1]);
    });
    (path, thread)
}

fn greeting() -> Vec<u8> {
    let uid: String = rustix::process::geteuid().as_raw().to_string().bytes().map(|b| format!("{b:02x}")).collect();
    format!("\0AUTH EXTERNAL {uid}\r\n").into_bytes()
}

fn call(serial: u32) -> Message {
    let mut message = Message::call(Some("a.b"), "/x", "c.d", "E", vec![Value::Uint32(5)]);
    message.serial = serial;
    message
}

#[test]
fn asking() {
    let mut signal = Message::new(Kind::Signal);
    (signal.serial, signal.path, signal.interface, signal.member) = (1, Some("/".into()), Some("a.b".into()), Some("JobRemoved".into()));
    signal.body = vec![Value::Uint32(4)];
    let mut answer = Message::new(Kind::Return);
    (answer.serial, answer.reply_to, answer.body) = (2, Some(1), vec![Value::text("yes")]);
    let mut refusal = Message::new(Kind::Error);
    (refusal.serial, refusal.reply_to, refusal.error, refusal.body) = (3, Some(2), Some("x.y.No".into()), vec![Value::text("no")]);
    let mut begin = b"BEGIN\r\n".to_vec();
    begin.extend(call(1).encode());
    // what is not the answer comes in between; two messages come in one piece
    let mut first = signal.encode();
    first.extend(answer.encode());
    let (path, server) =
        serve(vec![(greeting(), b"OK 123\r\n".to_vec()), (begin, first), (call(2).encode(), [refusal.encode(), signal.encode()].concat())]);
    let mut connection = Connection::peer(&path, Duration::from_secs(5)).unwrap();
    let mut ask = || connection.call(Some("a.b"), "/x", "c.d", "E", vec![Value::Uint32(5)]);
    assert_eq!(ask().unwrap(), [Value::text("yes")]);
    assert_eq!(ask().unwrap_err().to_string(), "no (x.y.No)");
    assert_eq!(connection.wait_for("JobRemoved", &mut |body| body == [Value::Uint32(4)]).unwrap(), [Value::Uint32(4)]);
    drop(connection);
    server.join().unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn servers_that_are_none() {
    let short = Duration::from_millis(200);
    for (says, expected) in [
        (&b"REJECTED EXTERNAL\r\n"[..], "it does not let us in"),
        (b"HTTP/1.1 400\r\n", "it does not speak D-Bus"),
        (&[b'x'; 5000], "it does not speak D-Bus"),
        (b"OK", "timed out"),
    ] {
        let (path, server) = serve(vec![(greeting(), says.to_vec())]);
        assert_eq!(Connection::peer(&path, short).unwrap_err().to_string(), expected);
        server.join().unwrap();
        std::fs::remove_file(path).unwrap();
    }
    assert!(matches!(Connection::peer(std::path::Path::new("/nowhere"), short), Err(CallError::Io(_))));
}
