//! Against the kernel, in a network namespace of the test thread's own.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use super::nft::{Expression, Hook, Transport, Verdict};
use super::route::{self, AddressChange, LinkRef, VethEnd};
use super::{Family, Socket, attributes, messages, nft};

const A: Ipv4Addr = Ipv4Addr::new(10, 1, 2, 1);

/// Runs `body` in a thread with a fresh network namespace; not at all without the right to make one.
fn in_own_network(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: integers only; the namespace is this thread's and goes with it.
            if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 {
                body();
            }
        });
    });
}

fn other_network() -> std::fs::File {
    let mut made = None;
    in_own_network(|| made = std::fs::File::open("/proc/thread-self/ns/net").ok());
    made.expect("a namespace")
}

fn end(name: &str) -> VethEnd<'_> {
    VethEnd { name, mac: Some([2, 0, 0, 0, 0, name.len() as u8]) }
}

#[test]
fn links_and_addresses() {
    in_own_network(|| {
        let mut socket = route::open().expect("socket");
        let there = other_network();
        let bridge = route::add_bridge("br", [2, 0, 0, 0, 0, 9]);
        socket.ask(bridge).expect("bridge");
        let index = super::index_of("br").expect("index");
        // One send: pair, alias, long name; a failure in the middle does not stop the rest.
        let results = socket
            .send(&[
                route::add_veth(end("ve-a"), end("host0"), there.as_fd(), true, Some(index)),
                route::set_alias(LinkRef::Name("nothing"), "x"),
                route::set_alias(LinkRef::Name("ve-a"), "hostel:a"),
                route::add_altname(LinkRef::Name("ve-a"), "ve-a-very-long-name"),
            ])
            .expect("send");
        let codes: Vec<_> = results.iter().map(|r| r.as_ref().err().and_then(std::io::Error::raw_os_error)).collect();
        assert_eq!(codes, [None, Some(libc::ENODEV), None, None]);
        let link = route::link(&mut socket, "ve-a-very-long-name").expect("look").expect("found");
        assert_eq!((link.name.as_str(), link.alias.as_deref(), link.master, link.up), ("ve-a", Some("hostel:a"), Some(index), true));
        assert_eq!((link.kind.as_deref(), link.mac), (Some("veth"), end("ve-a").mac));
        assert_eq!(route::link(&mut socket, "no").expect("look"), None);

        socket.ask(route::add_address(index, A.into(), 24)).expect("address");
        socket.ask(route::add_route(Ipv4Addr::new(10, 9, 0, 0).into(), 16, index, None)).expect("route");
        socket.ask(route::add_route(Ipv4Addr::UNSPECIFIED.into(), 0, index, Some(Ipv4Addr::new(10, 1, 2, 7).into()))).expect("default");
        assert!(route::addresses(&mut socket).expect("addresses").iter().any(|a| a.index == index && a.address == IpAddr::from(A) && a.global));
        let mut routes: Vec<_> = route::routes4(&mut socket).expect("routes").iter().map(|r| (r.network, r.prefix)).collect();
        routes.sort();
        assert_eq!(routes, [(Ipv4Addr::UNSPECIFIED, 0), (Ipv4Addr::new(10, 1, 2, 0), 24), (Ipv4Addr::new(10, 9, 0, 0), 16)]);
        let inside = super::inside(there.as_fd(), || route::links(&mut route::open()?)).expect("look inside");
        assert!(inside.iter().any(|l| l.name == "host0") && inside.iter().any(|l| l.loopback) && inside.len() == 2, "{inside:?}");
        socket.ask(route::delete(LinkRef::Name("ve-a"))).expect("delete");
        assert_eq!(route::link(&mut socket, "ve-a").expect("look"), None);
    });
}

#[test]
fn links_move_and_are_renamed_on_the_way() {
    in_own_network(|| {
        let mut socket = route::open().expect("socket");
        let (there, here) = (other_network(), std::fs::File::open("/proc/thread-self/ns/net").expect("namespace"));
        socket.ask(route::add_veth(end("a"), end("b"), there.as_fd(), true, None)).expect("veth");
        let index = super::index_of("a").expect("index");
        socket.ask(route::move_to(index, there.as_fd(), "inside")).expect("move");
        assert!(super::index_of("a").is_err());
        super::inside(there.as_fd(), || {
            let mut socket = route::open()?;
            let link = route::link(&mut socket, "inside")?.expect("moved");
            assert!(!link.up);
            socket.ask(route::set_up(LinkRef::Index(link.index)))?;
            socket.ask(route::move_to(link.index, here.as_fd(), "back"))
        })
        .expect("move back");
        super::index_of("back").expect("back");
        let lower = super::index_of("back").expect("index");
        match socket.ask(route::add_macvlan("mv-back", None, lower, there.as_fd())) {
            Ok(()) => drop(super::inside(there.as_fd(), || super::index_of("mv-back")).expect("made there")),
            Err(e) => assert_eq!(e.raw_os_error(), Some(libc::EOPNOTSUPP)),
        }
    });
}

#[test]
fn addresses_are_told() {
    in_own_network(|| {
        let mut socket = route::open().expect("socket");
        let monitor = Socket::monitor_addresses().expect("monitor");
        let mut buffer = [0; 8192];
        assert_eq!(monitor.receive(&mut buffer).expect_err("nothing yet").kind(), std::io::ErrorKind::WouldBlock);
        let lo = super::index_of("lo").expect("lo");
        socket.ask(route::add_address(lo, A.into(), 32)).expect("address");
        socket.ask(route::delete_address(lo, A.into(), 32)).expect("delete");
        let mut seen = Vec::new();
        while let Ok(n) = monitor.receive(&mut buffer) {
            seen.extend(messages(&buffer[..n]).filter_map(|m| route::address_change(&m)));
        }
        let seen: Vec<_> =
            seen.into_iter().filter(|c| matches!(c, AddressChange::Came(a) | AddressChange::Went(a) if a.address == IpAddr::from(A))).collect();
        assert!(matches!(seen[..], [AddressChange::Came(_), AddressChange::Went(_)]), "{seen:?}");
    });
}

fn rules() -> Vec<super::Request> {
    use Expression::*;
    vec![
        nft::add_chain(nft::IP, "hostel-t", "prerouting", "nat", Hook::Prerouting, -99),
        nft::add_chain(nft::IP, "hostel-t", "postrouting", "nat", Hook::Postrouting, 101),
        nft::add_rule(
            nft::IP,
            "hostel-t",
            "prerouting",
            &[ToThisHost, NotDestination(Ipv4Addr::LOCALHOST.into(), 8), Protocol(Transport::Tcp), Port(8080), Redirect(A, 80)],
            "",
            false,
        ),
        nft::add_rule(
            nft::IP,
            "hostel-t",
            "prerouting",
            &[Destination(A.into(), 32), NotFromPrefix("ve-"), Verdict(super::nft::Verdict::Drop)],
            "",
            false,
        ),
        nft::add_rule(nft::IP, "hostel-t", "postrouting", &[Source(A.into(), 24), Translated, ToPrefix("vz-"), Masquerade], "", false),
    ]
}

#[test]
fn a_table_is_its_sockets_and_goes_with_it() {
    in_own_network(|| {
        let mut socket = Socket::open(Family::Netfilter).expect("socket");
        let mut requests = vec![nft::add_table(nft::IP, "hostel-t", true)];
        requests.extend(rules());
        socket.transact(requests).expect("transaction");
        let mut other = Socket::open(Family::Netfilter).expect("socket");
        let chains = nft::chains(&mut other, nft::IP).expect("chains");
        assert_eq!(chains.iter().filter(|c| c.table == "hostel-t" && c.kind == "nat").count(), 2, "{chains:?}");
        assert!(other.transact(vec![nft::delete_table(nft::IP, "hostel-t")]).is_err(), "another's table");
        // All or nothing.
        let bad = vec![nft::add_table(nft::IP, "half", false), nft::add_rule(nft::IP, "half", "no-such-chain", &[], "", false)];
        assert!(other.transact(bad).is_err());
        assert_eq!(other.transact(vec![nft::delete_table(nft::IP, "half")]).expect_err("none").raw_os_error(), Some(libc::ENOENT));
        drop(socket);
        assert_eq!(nft::chains(&mut other, nft::IP).expect("chains"), []);
    });
}

#[test]
fn rules_are_found_again_by_their_comment() {
    in_own_network(|| {
        let mut socket = Socket::open(Family::Netfilter).expect("socket");
        let rule = |comment, front| {
            nft::add_rule(nft::IP, "t", "c", &[Expression::From("eth7"), Expression::Counter, Expression::Verdict(Verdict::Accept)], comment, front)
        };
        let table = vec![
            nft::add_table(nft::IP, "t", false),
            nft::add_chain(nft::IP, "t", "c", "nat", Hook::Output, 0),
            rule("one", false),
            rule("two", true),
            rule("one", false),
        ];
        socket.transact(table).expect("transaction");
        let found = nft::rules_with_comment(&mut socket, nft::IP, "t", "c", "one").expect("rules");
        assert_eq!(found.len(), 2);
        socket.transact(found.iter().map(|h| nft::delete_rule(nft::IP, "t", "c", *h)).collect()).expect("delete");
        assert_eq!(nft::rules_with_comment(&mut socket, nft::IP, "t", "c", "one").expect("rules"), []);
        assert_eq!(nft::rules_with_comment(&mut socket, nft::IP, "t", "c", "two").expect("rules").len(), 1);
    });
}

#[test]
fn damaged_answers_are_not_read_beyond_their_end() {
    for bytes in [&b""[..], &[0; 15], &[255; 64], &[16, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], &[3; 40]] {
        assert!(messages(bytes).count() <= 1);
        for at in [0, 8, 12, 100] {
            assert!(attributes(bytes, at).iter().count() <= 16);
            assert_eq!(attributes(bytes, at).number(77), None);
        }
    }
}
