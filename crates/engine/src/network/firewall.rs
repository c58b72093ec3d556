//! Address translation for one machine: an nftables table of its own, which the kernel removes with the supervisor.
//!
//! ```text
//!  table ip hostel-NAME (owned by the supervisor's socket: nobody else changes it, it ends when that is closed)
//!    prerouting   this host's address, forwarded port → the machine
//!                 to the machine, neither forwarded nor from a machine: dropped (only first packets come by here)
//!    output       the same for this host's own connections, but to 127.0.0.0/8 (those are carried by the supervisor)
//!    postrouting  from the machine to elsewhere: with the host's address
//! ```
//!
//! For IPv6 there is a second one, `table ip6 hostel-NAME`, with the same but ports: TCP is carried by the supervisor, which
//! also reaches those in the machine who hear IPv4 only. Where IPv6 is forwarded because of us, it drops what is no machine's.
//!
//! A table per machine, instead of one for all: it is made and removed in one transaction, there is nothing to count, and no
//! last one to clear up. Before kernel 5.12 tables have no owner; then the undo journal removes it.
//!
//! No table can let through what another one drops. Where a chain drops what no rule of it takes (Docker's FORWARD, a
//! host that closes INPUT), rules of ours are put at its end, with a comment to find them by. iptables-nft shows them as its own.

use std::io;
use std::net::Ipv4Addr;

use hostel_spec::{MachineName, PortForward, Transport};
use hostel_sys::netlink::nft::{self, Expression, Hook, Verdict};
use hostel_sys::netlink::{Family, Request, Socket};

use super::ipv6::{self, Network6};
use super::pool::Block;

/// Whose tables have what concerns machines.
const FAMILIES: [u8; 3] = [nft::IP, nft::INET, nft::IP6];

/// What translation is for.
#[derive(Debug, Clone)]
pub(super) struct Translation<'a> {
    /// The machine.
    pub(super) name: &'a MachineName,
    /// Its address.
    pub(super) address: Ipv4Addr,
    /// Its network, when that is ours.
    pub(super) block: Option<Block>,
    /// Forwarded ports.
    pub(super) ports: &'a [PortForward],
}

/// The machine's table, and its rules in others.
#[derive(Debug)]
pub(super) struct Firewall {
    socket: Socket,
    name: MachineName,
    /// Rules were put into tables of others.
    elsewhere: bool,
    /// Families in which its table is.
    tables: Vec<u8>,
}

fn table_name(name: &MachineName) -> String {
    format!("hostel-{name}")
}

/// By what rules of ours in tables of others are known.
fn comment(name: &MachineName) -> String {
    format!("hostel {name}")
}

fn transport(t: Transport) -> nft::Transport {
    match t {
        Transport::Tcp => nft::Transport::Tcp,
        Transport::Udp => nft::Transport::Udp,
    }
}

fn is(e: &io::Error, code: rustix::io::Errno) -> bool {
    e.raw_os_error() == Some(code.raw_os_error())
}

impl Firewall {
    pub(super) fn open(name: &MachineName) -> io::Result<Self> {
        Ok(Self { socket: Socket::open(Family::Netfilter)?, name: name.clone(), elsewhere: false, tables: Vec::new() })
    }

    /// Makes the table, or makes it anew.
    pub(super) fn translate(&mut self, t: &Translation<'_>) -> io::Result<()> {
        let table = table_name(t.name);
        self.make(nft::IP, &table, &rules(&table, t))
    }

    /// Makes the table for IPv6. `only_ours`: nobody else had this host forward.
    pub(super) fn translate6(&mut self, network: &Network6, only_ours: bool) -> io::Result<()> {
        let table = table_name(&self.name);
        self.make(nft::IP6, &table, &rules6(&table, network, only_ours))
    }

    fn make(&mut self, family: u8, table: &str, rules: &[Request]) -> io::Result<()> {
        if let Some(at) = self.tables.iter().position(|known| *known == family) {
            self.tables.remove(at);
            self.socket.transact(vec![nft::delete_table(family, table)])?;
        }
        let add = |owned| [&[nft::add_table(family, table, owned)], rules].concat();
        let mut result = self.socket.transact(add(true));
        if result.as_ref().is_err_and(|e| is(e, rustix::io::Errno::OPNOTSUPP) || is(e, rustix::io::Errno::INVAL)) {
            result = self.socket.transact(add(false));
        }
        if result.as_ref().is_err_and(|e| is(e, rustix::io::Errno::EXIST)) {
            // Of a killed supervisor on a kernel without owners.
            result = self.socket.transact([vec![nft::delete_table(family, table)], add(false)].concat());
        }
        if result.is_ok() {
            self.tables.push(family);
        }
        result
    }

    /// Lets the machine's packets pass where the host's own rules would drop them. Says which chains could not be changed.
    pub(super) fn pass(&mut self, link: &str) -> io::Result<Vec<String>> {
        let mut refused = Vec::new();
        for family in FAMILIES {
            for chain in chains(&mut self.socket, family)?.iter().filter(|c| c.drops && c.kind == "filter") {
                let requests = passes(chain, link, &comment(&self.name));
                if requests.is_empty() {
                    continue;
                }
                self.elsewhere = true;
                if self.socket.transact(requests).is_err() {
                    refused.push(format!("{} {}", chain.table, chain.name));
                }
            }
        }
        Ok(refused)
    }

    /// Removes it all. What is given back is to be closed where nobody waits: the kernel lets a netfilter socket go only
    /// when what it removed is freed, some 10 ms later.
    pub(super) fn remove(mut self) -> Socket {
        if self.elsewhere {
            // What cannot be removed is in the journal.
            let _ = remove_passes(&mut self.socket, &self.name);
        }
        for family in self.tables.iter().rev() {
            let _ = self.socket.transact(vec![nft::delete_table(*family, &table_name(&self.name))]);
        }
        self.socket
    }
}

/// What people are told where the older of the kernel's two packet filters is in use: a table of its own kind, which lies beside
/// nftables and is only ever replaced as a whole, so that two who change it at once undo each other.
pub(super) fn legacy_notice(link: &str) -> Option<String> {
    legacy_notice_of(&std::fs::read_to_string("/proc/net/ip_tables_names").ok()?, link)
}

fn legacy_notice_of(tables: &str, link: &str) -> Option<String> {
    tables.lines().any(|table| table == "filter").then(|| {
        format!(
            "this host filters with iptables-legacy, whose rules are left as they are; if its FORWARD chain drops: \
             iptables-legacy -I FORWARD -i {link} -j ACCEPT, and the same with -o {link}"
        )
    })
}

fn rules(table: &str, t: &Translation<'_>) -> Vec<Request> {
    use Expression::{Destination, Masquerade, NotDestination, NotFromPrefix, Port, Protocol, Redirect, Source, ToPrefix, ToThisHost, Translated};
    let rule = |chain: &str, parts: &[Expression<'_>]| nft::add_rule(nft::IP, table, chain, parts, "", false);
    // One step beside systemd-nspawn's own, so that neither's order is left to chance.
    let mut out = vec![
        nft::add_chain(nft::IP, table, "prerouting", "nat", Hook::Prerouting, -98),
        nft::add_chain(nft::IP, table, "output", "nat", Hook::Output, -98),
        nft::add_chain(nft::IP, table, "postrouting", "nat", Hook::Postrouting, 102),
    ];
    // To itself through a forwarded port: with br_netfilter that would be bridged back to where it came from, which a
    // bridge does not do. The supervisor listens on the port, too, and carries it.
    out.push(rule("prerouting", &[Source(t.address.into(), 32), Expression::Verdict(Verdict::Accept)]));
    for port in t.ports {
        let (protocol, to) = (Protocol(transport(port.transport)), Redirect(t.address, port.inside));
        out.push(rule("prerouting", &[ToThisHost, NotDestination(Ipv4Addr::LOCALHOST.into(), 8), protocol.clone(), Port(port.host), to.clone()]));
        out.push(rule("output", &[ToThisHost, NotDestination(Ipv4Addr::LOCALHOST.into(), 8), protocol, Port(port.host), to]));
    }
    let Some(block) = t.block else { return out };
    let drop = Expression::Verdict(Verdict::Drop);
    out.push(rule("prerouting", &[Destination(t.address.into(), 32), NotFromPrefix("ve-"), NotFromPrefix("vz-"), drop]));
    // A neighbour through a forwarded port: the answer has to come back this way.
    out.push(rule("postrouting", &[Source(block.network.into(), block.prefix), Destination(t.address.into(), 32), Translated, Masquerade]));
    for prefix in ["ve-", "vz-"] {
        out.push(rule("postrouting", &[Source(t.address.into(), 32), ToPrefix(prefix), Expression::Verdict(Verdict::Accept)]));
    }
    out.push(rule("postrouting", &[Source(t.address.into(), 32), Masquerade]));
    out
}

fn rules6(table: &str, t: &Network6, only_ours: bool) -> Vec<Request> {
    use Expression::{Destination, Masquerade, NotFromPrefix, NotToPrefix, Source, ToPrefix};
    let rule = |chain: &str, parts: &[Expression<'_>]| nft::add_rule(nft::IP6, table, chain, parts, "", false);
    let chain = |name: &str, kind, hook, priority| nft::add_chain(nft::IP6, table, name, kind, hook, priority);
    let verdict = |v| Expression::Verdict(v);
    let network = || t.network.into();
    let mut out = vec![
        chain("prerouting", "nat", Hook::Prerouting, -98),
        chain("postrouting", "nat", Hook::Postrouting, 102),
        rule("prerouting", &[Destination(network(), ipv6::PREFIX), NotFromPrefix("ve-"), NotFromPrefix("vz-"), verdict(Verdict::Drop)]),
    ];
    if t.world {
        for prefix in ["ve-", "vz-"] {
            out.push(rule("postrouting", &[Source(network(), ipv6::PREFIX), ToPrefix(prefix), verdict(Verdict::Accept)]));
        }
        out.push(rule("postrouting", &[Source(network(), ipv6::PREFIX), Masquerade]));
    }
    if only_ours {
        out.push(chain("forward", "filter", Hook::Forward, -2));
        let others = [NotFromPrefix("ve-"), NotFromPrefix("vz-"), NotToPrefix("ve-"), NotToPrefix("vz-"), verdict(Verdict::Drop)];
        out.push(rule("forward", &others));
    }
    out
}

/// What lets a machine pass a chain that drops.
fn passes(chain: &nft::BaseChain, link: &str, comment: &str) -> Vec<Request> {
    use Expression::{Counter, From, Port, Protocol, To};
    let accept = || Expression::Verdict(Verdict::Accept);
    let rule = |parts: &[Expression<'_>]| nft::add_rule(chain.family, &chain.table, &chain.name, parts, comment, false);
    if chain.hook == Some(Hook::Forward as u32) {
        // What comes to a machine unasked is dropped by its own table.
        return vec![rule(&[From(link), Counter, accept()]), rule(&[To(link), Counter, accept()])];
    }
    if chain.hook == Some(Hook::Input as u32) {
        let service = |t, port| rule(&[From(link), Protocol(t), Port(port), Counter, accept()]);
        let neighbours = (chain.family != nft::IP).then(|| rule(&[From(link), Protocol(nft::Transport::Icmp6), Counter, accept()]));
        let mut out: Vec<Request> = neighbours.into_iter().collect();
        if chain.family != nft::IP6 {
            out.extend([service(nft::Transport::Udp, 67), service(nft::Transport::Udp, 53), service(nft::Transport::Tcp, 53)]);
        }
        return out;
    }
    Vec::new()
}

/// Chains of a family that meet packets. A kernel without IPv6 has no such tables.
fn chains(socket: &mut Socket, family: u8) -> io::Result<Vec<nft::BaseChain>> {
    match nft::chains(socket, family) {
        Err(e) if family == nft::IP6 && has_no_table(&e) => Ok(Vec::new()),
        found => found,
    }
}

fn has_no_table(e: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::NOENT, Errno::OPNOTSUPP, Errno::AFNOSUPPORT].into_iter().any(|code| is(e, code))
}

fn remove_passes(socket: &mut Socket, name: &MachineName) -> io::Result<()> {
    let comment = comment(name);
    for family in FAMILIES {
        for chain in chains(socket, family)?.iter().filter(|c| c.kind == "filter") {
            let found = nft::rules_with_comment(socket, family, &chain.table, &chain.name, &comment)?;
            if !found.is_empty() {
                socket.transact(found.iter().map(|h| nft::delete_rule(family, &chain.table, &chain.name, *h)).collect())?;
            }
        }
    }
    Ok(())
}

/// Removes what a dead supervisor of machine `name` left.
pub(crate) fn take_back(name: &MachineName) -> io::Result<()> {
    let mut socket = Socket::open(Family::Netfilter)?;
    // A kernel without nftables has nothing of ours.
    if nft::chains(&mut socket, nft::IP).is_err() {
        return Ok(());
    }
    remove_passes(&mut socket, name)?;
    for family in [nft::IP6, nft::IP] {
        match socket.transact(vec![nft::delete_table(family, &table_name(name))]) {
            Err(e) if !has_no_table(&e) => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::legacy_notice_of;

    #[test]
    fn who_filters_with_the_older_filter_is_told_what_to_add() {
        let notice = legacy_notice_of("nat\nfilter\n", "ve-web").expect("a notice");
        assert!(notice.contains("iptables-legacy -I FORWARD -i ve-web -j ACCEPT"), "{notice}");
        // translation alone drops nothing
        assert_eq!(legacy_notice_of("nat\nmangle\n", "ve-web"), None);
        assert_eq!(legacy_notice_of("", "ve-web"), None);
    }
}
