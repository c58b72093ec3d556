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

use super::pool::Block;

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
    table: bool,
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
        Ok(Self { socket: Socket::open(Family::Netfilter)?, name: name.clone(), elsewhere: false, table: false })
    }

    /// Makes the table, or makes it anew.
    pub(super) fn translate(&mut self, t: &Translation<'_>) -> io::Result<()> {
        let table = table_name(t.name);
        if std::mem::take(&mut self.table) {
            self.socket.transact(vec![nft::delete_table(&table)])?;
        }
        let add = |owned| [vec![nft::add_table(&table, owned)], rules(&table, t)].concat();
        let mut result = self.socket.transact(add(true));
        if result.as_ref().is_err_and(|e| is(e, rustix::io::Errno::OPNOTSUPP) || is(e, rustix::io::Errno::INVAL)) {
            result = self.socket.transact(add(false));
        }
        if result.as_ref().is_err_and(|e| is(e, rustix::io::Errno::EXIST)) {
            // Of a killed supervisor on a kernel without owners.
            result = self.socket.transact([vec![nft::delete_table(&table)], add(false)].concat());
        }
        self.table = result.is_ok();
        result
    }

    /// Lets the machine's packets pass where the host's own rules would drop them. Says which chains could not be changed.
    pub(super) fn pass(&mut self, link: &str) -> io::Result<Vec<String>> {
        let mut refused = Vec::new();
        for family in [nft::IP, nft::INET] {
            for chain in nft::chains(&mut self.socket, family)?.iter().filter(|c| c.drops && c.kind == "filter") {
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
        if self.table {
            let _ = self.socket.transact(vec![nft::delete_table(&table_name(&self.name))]);
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
        nft::add_nat_chain(table, "prerouting", Hook::Prerouting, -98),
        nft::add_nat_chain(table, "output", Hook::Output, -98),
        nft::add_nat_chain(table, "postrouting", Hook::Postrouting, 102),
    ];
    // To itself through a forwarded port: with br_netfilter that would be bridged back to where it came from, which a
    // bridge does not do. The supervisor listens on the port, too, and carries it.
    out.push(rule("prerouting", &[Source(t.address, 32), Expression::Verdict(Verdict::Accept)]));
    for port in t.ports {
        let (protocol, to) = (Protocol(transport(port.transport)), Redirect(t.address, port.inside));
        out.push(rule("prerouting", &[ToThisHost, NotDestination(Ipv4Addr::LOCALHOST, 8), protocol.clone(), Port(port.host), to.clone()]));
        out.push(rule("output", &[ToThisHost, NotDestination(Ipv4Addr::LOCALHOST, 8), protocol, Port(port.host), to]));
    }
    let Some(block) = t.block else { return out };
    let drop = Expression::Verdict(Verdict::Drop);
    out.push(rule("prerouting", &[Destination(t.address, 32), NotFromPrefix("ve-"), NotFromPrefix("vz-"), drop]));
    // A neighbour through a forwarded port: the answer has to come back this way.
    out.push(rule("postrouting", &[Source(block.network, block.prefix), Destination(t.address, 32), Translated, Masquerade]));
    for prefix in ["ve-", "vz-"] {
        out.push(rule("postrouting", &[Source(t.address, 32), ToPrefix(prefix), Expression::Verdict(Verdict::Accept)]));
    }
    out.push(rule("postrouting", &[Source(t.address, 32), Masquerade]));
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
        return vec![service(nft::Transport::Udp, 67), service(nft::Transport::Udp, 53), service(nft::Transport::Tcp, 53)];
    }
    Vec::new()
}

fn remove_passes(socket: &mut Socket, name: &MachineName) -> io::Result<()> {
    let comment = comment(name);
    for family in [nft::IP, nft::INET] {
        for chain in nft::chains(socket, family)?.iter().filter(|c| c.kind == "filter") {
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
    match socket.transact(vec![nft::delete_table(&table_name(name))]) {
        Err(e) if !is(&e, rustix::io::Errno::NOENT) => Err(e),
        _ => Ok(()),
    }
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
