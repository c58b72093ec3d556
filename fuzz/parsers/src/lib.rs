//! One small body per parser: any bytes go in, nothing panics, and what was understood can be said again.
//!
//! The same functions are driven by libFuzzer (`cargo fuzz run NAME`, wrappers in `fuzz_targets/`) and on stable Rust
//! by `tests/smoke.rs` with random and mutated inputs. A body that asserts is a property; one that does not is total.

mod archives;
mod config;
mod disk;
mod files;
mod journal;
mod lxc;
mod messages;
mod oci;
mod subhost;
mod units;

pub use archives::{address, http_head, pax_records, sums, tar};
pub use config::{capability, cpu_list, machine_name, nspawn, rlimit, settings, signal, size, syscall_filter, time_span, user_selector, uuid, words};
pub use disk::{disk_image, image_policy, label_order, verity_signature};
pub use files::{cgroup_layout, machine_id, os_release, process_stat, state_file, undo_journal, unit_file, users_database};
pub use journal::{journal_lines, journal_native, journal_pattern, journal_store, moment};
pub use lxc::lxc_config;
pub use messages::{control_request, dhcp_query, dns_message, notify_message, resolv_conf};
pub use oci::oci_config;
pub use subhost::subhost;
pub use units::{
    calendar, command_line, environment_file, manager_request, presets, private_bus, script_header, service_words, time_zone, unit_name,
};

/// One target.
pub struct Target {
    /// Its name: the function's, and `fuzz_targets/NAME.rs`.
    pub name: &'static str,
    /// The body.
    pub body: fn(&[u8]),
    /// Inputs that reach deep, to begin from.
    pub seeds: &'static [&'static str],
}

/// Every target.
pub const TARGETS: [Target; 53] = [
    Target { name: "nspawn", body: nspawn, seeds: config::NSPAWN_SEEDS },
    Target { name: "settings", body: settings, seeds: config::SETTINGS_SEEDS },
    Target { name: "subhost", body: subhost, seeds: subhost::SEEDS },
    Target { name: "lxc_config", body: lxc_config, seeds: lxc::SEEDS },
    Target { name: "oci_config", body: oci_config, seeds: oci::SEEDS },
    Target { name: "unit_file", body: unit_file, seeds: files::UNIT_SEEDS },
    Target { name: "size", body: size, seeds: &["1K", "1.5G", "18446744073709551615", "4M 12K", "infinity"] },
    Target { name: "time_span", body: time_span, seeds: &["1min 30s", "2h30.5min", "infinity", "1y 6month", "7µs", " 5 "] },
    Target { name: "calendar", body: calendar, seeds: units::CALENDAR_SEEDS },
    Target { name: "time_zone", body: time_zone, seeds: &["CET-1CEST,M3.5.0,M10.5.0/3", "<-03>3<-02>,J60/-1,365/25", "TZif2"] },
    Target { name: "unit_name", body: unit_name, seeds: &["a@b.service", "/srv/x y", "/dev/sda", "a*b", r"x\x2dy-z.mount", "foo-bar-baz@.socket"] },
    Target { name: "script_header", body: script_header, seeds: units::SCRIPT_SEEDS },
    Target { name: "command_line", body: command_line, seeds: &["-@/bin/a b 'c d' ; +/bin/e \\;", "!!/x \\q", ":|sh"] },
    Target { name: "presets", body: presets, seeds: &["enable t@.service x y\ndisable *\n", "ignore [a-c]?*\n# x\n"] },
    Target { name: "words", body: words, seeds: &["a 'b c' \"d\\\"e\" f\\x41", "\\u00e9\\101", "a:b\\:c::", "'open", ""] },
    Target { name: "cpu_list", body: cpu_list, seeds: &["0-3,7", "1 2 3", "0-8191", "3-1", ""] },
    Target { name: "signal", body: signal, seeds: &["TERM", "SIGRTMIN+4", "RTMAX-2", "64", "sigusr1"] },
    Target { name: "capability", body: capability, seeds: &["CAP_SYS_ADMIN", "net_admin", "40", "cap_"] },
    Target { name: "rlimit", body: rlimit, seeds: &["NOFILE", "RLIMIT_CORE", "nice", "RLIMIT_"] },
    Target { name: "uuid", body: uuid, seeds: &["0123456789abcdef0123456789abcdef", "01234567-89ab-cdef-0123-456789abcdef", "0"] },
    Target { name: "machine_name", body: machine_name, seeds: &["debian", "a.b-c_d", "..", "-x", "host.example"] },
    Target { name: "user_selector", body: user_selector, seeds: &["root", "1000", "007", "4294967295", "a b", "_apt"] },
    Target { name: "syscall_filter", body: syscall_filter, seeds: &["@mount bpf", "~@clock keyctl", "~ptrace 42", "@known"] },
    Target { name: "cgroup_layout", body: cgroup_layout, seeds: files::CGROUP_SEEDS },
    Target { name: "os_release", body: os_release, seeds: &["ID=debian\nNAME=\"Debian \\\"GNU\\\"\"\n# c\nA='b'\n", "=\nX", "A=\"open"] },
    Target { name: "machine_id", body: machine_id, seeds: &["0123456789abcdef0123456789abcdef\n", "uninitialized\n"] },
    Target { name: "users_database", body: users_database, seeds: files::USER_SEEDS },
    Target { name: "state_file", body: state_file, seeds: &["{\"version\":1,\"name\":\"m\"}", "{\"version\":99}", "{}"] },
    Target { name: "undo_journal", body: undo_journal, seeds: files::UNDO_SEEDS },
    Target { name: "process_stat", body: process_stat, seeds: files::STAT_SEEDS },
    Target { name: "disk_image", body: disk_image, seeds: disk::DISK_SEEDS },
    Target { name: "image_policy", body: image_policy, seeds: disk::POLICY_SEEDS },
    Target {
        name: "verity_signature",
        body: verity_signature,
        seeds: &["{\"rootHash\":\"00\",\"signature\":\"Zg==\"}", "{}\0\0", "0123456789abcdef0123456789abcdef"],
    },
    Target { name: "label_order", body: label_order, seeds: &["os_1\0os_2~rc1", "a-1.2^3\0a-1.2", "\0", "10\x009"] },
    Target { name: "control_request", body: control_request, seeds: messages::REQUEST_SEEDS },
    Target { name: "dhcp_query", body: dhcp_query, seeds: &["\x35\x01\x01\u{7f}", "5\x01\x032\x04abcd6\x04efgh", "5\x01\x08"] },
    Target { name: "dns_message", body: dns_message, seeds: messages::DNS_SEEDS },
    Target { name: "resolv_conf", body: resolv_conf, seeds: &["nameserver 1.2.3.4\nnameserver ::1\n", "search a\n"] },
    Target {
        name: "service_words",
        body: service_words,
        seeds: &["READY=1\nSTATUS=up\nMAINPID=12\nWATCHDOG_USEC=5", "FDSTORE=1\nBARRIER=1\nMAINPID=-1"],
    },
    Target { name: "manager_request", body: manager_request, seeds: units::REQUEST_SEEDS },
    Target {
        name: "journal_native",
        body: journal_native,
        seeds: &["MESSAGE=a\nPRIORITY=3\n_PID=1\n\nMESSAGE=b", "BLOB\n\x03\0\0\0\0\0\0\0a\nb\nA=1", "A\n\x7f\0\0\0\0\0\0\0"],
    },
    Target {
        name: "journal_lines",
        body: journal_lines,
        seeds: &["<30>Nov 27 06:00:00 cron[12]: (root) CMD\n", "id\na.service\n30\n1\n0\n0\n1\n<4>line\nrest", "<999>x", "a[1]: "],
    },
    Target { name: "journal_store", body: journal_store, seeds: &["HOSTLOG1", "s=1;i=2;t=3;b=4;m=5;x=6", "\x28\0\0\0\0\0\0\0"] },
    Target { name: "journal_pattern", body: journal_pattern, seeds: &["(a|b)*c{2,3}[^x-z]\\d+$", "^\\bword\\b", "(((a*)*)*)*b", "[]-]"] },
    Target { name: "moment", body: moment, seeds: &["2026-11-27 12:00:01.5 UTC", "2 days ago", "Fri 11-27", "@1.5", "2026-01-01T00:00:00+02:00"] },
    Target { name: "private_bus", body: private_bus, seeds: units::BUS_SEEDS },
    Target { name: "environment_file", body: environment_file, seeds: &["A=1\n# c\nB='x y'\\\n\nexport C=\"\\\"\"\n", "=\nA", "A='open\n"] },
    Target { name: "notify_message", body: notify_message, seeds: &["READY=1\nSTATUS=up\nERRNO=2", "EXIT_STATUS=300", "STATUS=\u{202e}x\n=\n"] },
    Target { name: "tar", body: tar, seeds: archives::TAR_SEEDS },
    Target { name: "pax_records", body: pax_records, seeds: archives::PAX_SEEDS },
    Target { name: "http_head", body: http_head, seeds: archives::HEAD_SEEDS },
    Target { name: "address", body: address, seeds: &["https://[::1]:8443/a/b?c#d", "http://example.org", "http://u@h:99999/"] },
    Target { name: "sums", body: sums, seeds: &["0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef  x.tar\n", "é *x.tar"] },
];

/// The text of `data`; parsers of text never see anything else.
fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// An error is one line for a person, of bounded length whatever the input.
fn one_line(error: &dyn std::fmt::Display) {
    let said = error.to_string();
    assert!(!said.is_empty(), "an error says nothing");
    assert!(!said.contains('\n'), "an error of several lines: {said:?}");
}
