//! nftables requests: tables, chains, rules made of expressions (<linux/netfilter/nf_tables.h>).
//!
//! Only what address translation for machines needs. A rule is a list of [`Expression`]s; values are compared and loaded
//! in register 1.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use super::Socket;
use super::message::{Request, attributes};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_APPEND: u16 = 0x800;
const NLM_F_DUMP: u16 = 0x300;
/// `struct nfgenmsg`.
const HEADER: usize = 4;

const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const NEWRULE: u16 = 6;
const GETRULE: u16 = 7;
const DELRULE: u16 = 8;

const TABLE_NAME: u16 = 1;
const TABLE_FLAGS: u16 = 2;
const TABLE_OWNER: u32 = 2;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const RULE_USERDATA: u16 = 7;
const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const REGISTER: u32 = 1;
const SECOND: u32 = 2;

/// `NFPROTO_IPV4`.
pub const IP: u8 = 2;
/// `NFPROTO_INET`.
pub const INET: u8 = 1;
/// `NFPROTO_IPV6`.
pub const IP6: u8 = 10;

/// A place in the packet's way through the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// Arriving, before routing.
    Prerouting = 0,
    /// To this host.
    Input = 1,
    /// Through this host.
    Forward = 2,
    /// Made by this host.
    Output = 3,
    /// Leaving.
    Postrouting = 4,
}

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Verdict {
    /// Thrown away.
    Drop = 0,
    /// Goes on.
    Accept = 1,
}

/// What is in a packet, as IP numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Transport {
    /// TCP.
    Tcp = 6,
    /// UDP.
    Udp = 17,
    /// ICMP of IPv6: neighbours, routers.
    Icmp6 = 58,
}

/// A step of a rule. All must hold for the last one to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression<'a> {
    /// It came in by this interface.
    From(&'a str),
    /// It did not come in by an interface whose name begins so.
    NotFromPrefix(&'a str),
    /// It goes out by this interface.
    To(&'a str),
    /// It goes out by an interface whose name begins so.
    ToPrefix(&'a str),
    /// It does not go out by an interface whose name begins so.
    NotToPrefix(&'a str),
    /// What is in it.
    Protocol(Transport),
    /// Its destination port.
    Port(u16),
    /// Its source is in this network.
    Source(IpAddr, u8),
    /// Its destination is in this network.
    Destination(IpAddr, u8),
    /// Its destination is not in this network.
    NotDestination(IpAddr, u8),
    /// Its destination is an address of this host.
    ToThisHost,
    /// Its destination was translated.
    Translated,
    /// Counts; iptables expects it in its rules.
    Counter,
    /// Decides.
    Verdict(Verdict),
    /// Sends it to another address and port.
    Redirect(Ipv4Addr, u16),
    /// Gives it the address of the interface it leaves by.
    Masquerade,
}

fn request(message: u16, flags: u16, family: u8) -> Request {
    let mut r = Request::new(SUBSYSTEM << 8 | message, flags);
    r.raw(&[family, 0, 0, 0]);
    r
}

fn dump_request(message: u16, family: u8) -> Request {
    let mut r = Request::plain(SUBSYSTEM << 8 | message, NLM_F_DUMP);
    r.raw(&[family, 0, 0, 0]);
    r
}

/// The requests as one transaction.
pub(super) fn transaction(requests: Vec<Request>) -> Vec<Request> {
    let end = |kind| {
        let mut r = Request::plain(kind, 0);
        r.raw(&[0, 0]);
        r.raw(&SUBSYSTEM.to_be_bytes());
        r
    };
    let mut out = Vec::with_capacity(requests.len() + 2);
    out.push(end(BATCH_BEGIN));
    out.extend(requests);
    out.push(end(BATCH_END));
    out
}

/// A new table. `owned`: it belongs to the socket, nobody else can change it, and it goes when the socket is closed
/// (Linux 5.12).
pub fn add_table(family: u8, name: &str, owned: bool) -> Request {
    let mut r = request(NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, family);
    r.text(TABLE_NAME, name);
    if owned {
        r.big(TABLE_FLAGS, TABLE_OWNER);
    }
    r
}

/// Removes a table with all that is in it.
pub fn delete_table(family: u8, name: &str) -> Request {
    let mut r = request(DELTABLE, 0, family);
    r.text(TABLE_NAME, name);
    r
}

/// A chain of type `nat` or `filter` that the kernel calls at `hook`.
pub fn add_chain(family: u8, table: &str, name: &str, kind: &str, hook: Hook, priority: i32) -> Request {
    let mut r = request(NEWCHAIN, NLM_F_CREATE, family);
    r.text(CHAIN_TABLE, table);
    r.text(CHAIN_NAME, name);
    r.nested(CHAIN_HOOK, |r| {
        r.big(HOOK_NUMBER, hook as u32);
        r.big(HOOK_PRIORITY, priority as u32);
    });
    r.text(CHAIN_TYPE, kind);
    r
}

/// A rule at the end of a chain, or at its `front`.
pub fn add_rule(family: u8, table: &str, chain: &str, rule: &[Expression<'_>], comment: &str, front: bool) -> Request {
    let mut r = request(NEWRULE, if front { NLM_F_CREATE } else { NLM_F_CREATE | NLM_F_APPEND }, family);
    r.text(RULE_TABLE, table);
    r.text(RULE_CHAIN, chain);
    r.nested(RULE_EXPRESSIONS, |r| rule.iter().for_each(|e| expression(r, e)));
    if !comment.is_empty() {
        r.attr(RULE_USERDATA, &userdata(comment));
    }
    r
}

/// Removes a rule.
pub fn delete_rule(family: u8, table: &str, chain: &str, handle: u64) -> Request {
    let mut r = request(DELRULE, 0, family);
    r.text(RULE_TABLE, table);
    r.text(RULE_CHAIN, chain);
    r.attr(RULE_HANDLE, &handle.to_be_bytes());
    r
}

/// A comment as the nft program shows it: type 0, length, text, NUL.
fn userdata(comment: &str) -> Vec<u8> {
    let text = &comment.as_bytes()[..comment.len().min(127)];
    [&[0, text.len() as u8 + 1], text, &[0]].concat()
}

fn step(r: &mut Request, name: &str, fill: impl FnOnce(&mut Request)) {
    r.nested(LIST_ELEM, |r| {
        r.text(EXPR_NAME, name);
        r.nested(EXPR_DATA, fill);
    });
}

fn value(r: &mut Request, kind: u16, bytes: &[u8]) {
    r.nested(kind, |r| r.attr(DATA_VALUE, bytes));
}

/// Compares register 1; `op` 0 is equal, 1 is not.
fn compare(r: &mut Request, op: u32, bytes: &[u8]) {
    step(r, "cmp", |r| {
        r.big(1, REGISTER);
        r.big(2, op);
        value(r, 3, bytes);
    });
}

fn meta(r: &mut Request, key: u32) {
    step(r, "meta", |r| {
        r.big(1, REGISTER);
        r.big(2, key);
    });
}

fn payload(r: &mut Request, base: u32, offset: u32, length: u32) {
    step(r, "payload", |r| {
        for (kind, number) in [(1, REGISTER), (2, base), (3, offset), (4, length)] {
            r.big(kind, number);
        }
    });
}

fn mask(r: &mut Request, bits: &[u8]) {
    step(r, "bitwise", |r| {
        r.big(1, REGISTER);
        r.big(2, REGISTER);
        r.big(3, bits.len() as u32);
        value(r, 4, bits);
        value(r, 5, &vec![0; bits.len()]);
    });
}

fn load(r: &mut Request, register: u32, bytes: &[u8]) {
    step(r, "immediate", |r| {
        r.big(1, register);
        value(r, 2, bytes);
    });
}

/// Compares a name with its NUL: the register beyond it is zero.
fn interface(r: &mut Request, key: u32, name: &str) {
    meta(r, key);
    compare(r, 0, &[name.as_bytes(), &[0]].concat());
}

/// Compares a packet's source (`which` 0) or destination (1).
fn network(r: &mut Request, which: u32, address: IpAddr, prefix: u8, op: u32) {
    let (start, bytes) = match address {
        IpAddr::V4(a) => (12, a.octets().to_vec()),
        IpAddr::V6(a) => (8, a.octets().to_vec()),
    };
    let length = bytes.len() as u32;
    payload(r, 1, start + which * length, length);
    let bits: Vec<u8> = (0..length).map(|n| u8::MAX.checked_shl((8 * (n + 1)).saturating_sub(u32::from(prefix))).unwrap_or(0)).collect();
    if u32::from(prefix) < 8 * length {
        mask(r, &bits);
    }
    compare(r, op, &bytes.iter().zip(&bits).map(|(byte, bits)| byte & bits).collect::<Vec<_>>());
}

fn expression(r: &mut Request, e: &Expression<'_>) {
    const IIFNAME: u32 = 6;
    const OIFNAME: u32 = 7;
    const L4PROTO: u32 = 16;
    const CT_STATUS: u32 = 2;
    const DST_NAT: u32 = 1 << 5;
    const FIB_DESTINATION: u32 = 2;
    const FIB_TYPE: u32 = 3;
    match *e {
        Expression::From(name) => interface(r, IIFNAME, name),
        Expression::To(name) => interface(r, OIFNAME, name),
        Expression::NotFromPrefix(prefix) => {
            meta(r, IIFNAME);
            compare(r, 1, prefix.as_bytes());
        }
        Expression::ToPrefix(prefix) => {
            meta(r, OIFNAME);
            compare(r, 0, prefix.as_bytes());
        }
        Expression::NotToPrefix(prefix) => {
            meta(r, OIFNAME);
            compare(r, 1, prefix.as_bytes());
        }
        Expression::Protocol(transport) => {
            meta(r, L4PROTO);
            compare(r, 0, &[transport as u8]);
        }
        Expression::Port(port) => {
            payload(r, 2, 2, 2);
            compare(r, 0, &port.to_be_bytes());
        }
        Expression::Source(address, prefix) => network(r, 0, address, prefix, 0),
        Expression::Destination(address, prefix) => network(r, 1, address, prefix, 0),
        Expression::NotDestination(address, prefix) => network(r, 1, address, prefix, 1),
        Expression::ToThisHost => {
            step(r, "fib", |r| {
                r.big(1, REGISTER);
                r.big(2, FIB_TYPE);
                r.big(3, FIB_DESTINATION);
            });
            compare(r, 0, &u32::from(libc::RTN_LOCAL).to_ne_bytes());
        }
        Expression::Translated => {
            step(r, "ct", |r| {
                r.big(1, REGISTER);
                r.big(2, CT_STATUS);
            });
            mask(r, &DST_NAT.to_ne_bytes());
            compare(r, 1, &0u32.to_ne_bytes());
        }
        Expression::Counter => step(r, "counter", |_| {}),
        Expression::Verdict(verdict) => step(r, "immediate", |r| {
            r.big(1, 0);
            r.nested(2, |r| r.nested(DATA_VERDICT, |r| r.big(VERDICT_CODE, verdict as i32 as u32)));
        }),
        Expression::Redirect(address, port) => {
            load(r, REGISTER, &address.octets());
            load(r, SECOND, &port.to_be_bytes());
            step(r, "nat", |r| {
                for (kind, number) in [(1, 1), (2, u32::from(IP)), (3, REGISTER), (5, SECOND)] {
                    r.big(kind, number);
                }
            });
        }
        Expression::Masquerade => step(r, "masq", |_| {}),
    }
}

/// A chain that the kernel calls at a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// Protocol family of its table.
    pub family: u8,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it is called; `None`: by other chains only.
    pub hook: Option<u32>,
    /// What falls off its end is dropped.
    pub drops: bool,
    /// `filter`, `nat`, `route`.
    pub kind: String,
}

/// All chains of a protocol family.
pub fn chains(socket: &mut Socket, family: u8) -> io::Result<Vec<BaseChain>> {
    let mut out = Vec::new();
    socket.dump(dump_request(GETCHAIN, family), |m| {
        let attrs = attributes(m.body, HEADER);
        if m.kind != SUBSYSTEM << 8 | NEWCHAIN {
            return;
        }
        let (Some(table), Some(name)) = (attrs.text(CHAIN_TABLE), attrs.text(CHAIN_NAME)) else { return };
        out.push(BaseChain {
            family: m.body.first().copied().unwrap_or(family),
            table,
            name,
            hook: attrs.nested(CHAIN_HOOK).big(HOOK_NUMBER),
            drops: attrs.big(CHAIN_POLICY) == Some(0),
            kind: attrs.text(CHAIN_TYPE).unwrap_or_default(),
        });
    })?;
    Ok(out)
}

/// Handles of the rules of a chain that carry this comment.
pub fn rules_with_comment(socket: &mut Socket, family: u8, table: &str, chain: &str, comment: &str) -> io::Result<Vec<u64>> {
    let mut r = dump_request(GETRULE, family);
    r.text(RULE_TABLE, table);
    r.text(RULE_CHAIN, chain);
    let wanted = userdata(comment);
    let mut out = Vec::new();
    socket.dump(r, |m| {
        let attrs = attributes(m.body, HEADER);
        // Kernels before 5.2 ignore the filter of the request.
        let here = attrs.text(RULE_TABLE).as_deref() == Some(table) && attrs.text(RULE_CHAIN).as_deref() == Some(chain);
        let handle = attrs.get(RULE_HANDLE).and_then(|h| h.try_into().ok()).map(u64::from_be_bytes);
        if here && attrs.get(RULE_USERDATA) == Some(&wanted) {
            out.extend(handle);
        }
    })?;
    Ok(out)
}
