use super::*;
use crate::testing::Tree;

fn named(list: &[Dependency], relation: Relation) -> Vec<&str> {
    let mut found: Vec<&str> = list.iter().filter(|d| d.relation == relation).map(|d| d.to.as_str()).collect();
    found.sort_unstable();
    found
}

#[test]
fn defaults_of_each_kind() {
    let tree = Tree::new("depend-defaults");
    tree.unit("a.service", "[Unit]\nAfter=x.service\n[Service]\nExecStart=/bin/a\nPrivateTmp=yes\n");
    tree.unit("early.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/a\nStandardOutput=null\nStandardError=tty\n");
    tree.unit("a.socket", "[Socket]\nListenStream=/run/a\n");
    tree.unit("a.timer", "[Timer]\nOnCalendar=daily\n");
    tree.unit("tmp.mount", "[Mount]\nWhat=tmpfs\nWhere=/tmp\nType=tmpfs\n");
    tree.unit("srv-n.mount", "[Mount]\nWhat=h:/x\nWhere=/srv/n\nType=nfs\n");
    tree.unit("a-b.slice", "");
    let of = |name: &str| {
        let catalogue = tree.catalogue();
        let unit = tree.load(name);
        assert!(unit.is_loaded(), "{name}: {:?}", unit.state);
        dependencies(&unit, Scope::System, &|n| catalogue.has(n.as_str()))
    };
    let a = of("a.service");
    assert_eq!(named(&a, Relation::Requires), ["sysinit.target", "system.slice", "tmp.mount"]);
    assert_eq!(
        named(&a, Relation::After),
        ["a.socket", "basic.target", "sysinit.target", "system.slice", "systemd-journald.socket", "tmp.mount", "x.service"]
    );
    assert_eq!((named(&a, Relation::Before), named(&a, Relation::Conflicts)), (vec!["shutdown.target"], vec!["shutdown.target"]));
    let early = of("early.service");
    assert_eq!(named(&early, Relation::After), ["system.slice"]);
    assert!(named(&early, Relation::Conflicts).is_empty());
    let socket = of("a.socket");
    assert_eq!(named(&socket, Relation::Triggers), ["a.service"]);
    assert_eq!(named(&socket, Relation::Before), ["a.service", "shutdown.target", "sockets.target"]);
    assert_eq!(named(&of("a.timer"), Relation::After), ["sysinit.target", "time-set.target", "time-sync.target"]);
    assert_eq!(named(&of("srv-n.mount"), Relation::Before), ["remote-fs.target", "umount.target"]);
    assert_eq!(named(&of("a-b.slice"), Relation::Requires), ["a.slice"]);
    assert_eq!(named(&of("a.slice"), Relation::Requires), ["-.slice"]);
}

#[test]
fn targets_come_after_what_they_want() {
    let tree = Tree::new("depend-target");
    tree.unit("t.target", "[Unit]\nWants=a.service b.service c.service d.service\nBefore=c.service\n");
    tree.unit("a.service", "[Service]\nExecStart=/bin/a\n");
    tree.unit("b.service", "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/a\n");
    tree.unit("c.service", "[Service]\nExecStart=/bin/a\n");
    tree.link("d.service", "a.service");
    tree.link("e.service", "a.service");
    let graph = tree.graph(&["t.target"]);
    let target = UnitName::parse("t.target").unwrap();
    assert_eq!(graph.to(&target, Relation::After).map(UnitName::as_str).collect::<Vec<_>>(), ["a.service"]);
    let a = UnitName::parse("d.service").unwrap();
    assert!(graph.from(&a, Relation::Wants).any(|n| *n == target));
    // a name that nobody has asked for yet
    let e = UnitName::parse("e.service").unwrap();
    assert!(graph.from(&e, Relation::Wants).any(|n| *n == target));
}
