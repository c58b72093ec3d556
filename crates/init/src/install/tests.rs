use super::*;
use crate::testing::Tree;
use hostel_unit::UnitName;

fn name(text: &str) -> UnitName {
    UnitName::parse(text).unwrap()
}

fn with<T>(tree: &Tree, verb: impl FnOnce(&Installer<'_, '_>) -> T) -> T {
    let catalogue = tree.catalogue();
    verb(&Installer { catalogue: &catalogue, runtime: false, force: false })
}

#[test]
fn enable_and_back() {
    let tree = Tree::new("install-enable");
    tree.unit("a.service", "[Service]\nExecStart=/bin/a\n[Install]\nWantedBy=m.target\nAlias=aa.service\nAlso=b.service gone.service\n");
    tree.unit("b.service", "[Service]\nExecStart=/bin/b\n[Install]\nRequiredBy=m.target\nAlso=a.service\n");
    tree.unit("m.target", "");
    let state = |unit: &str| with(&tree, |i| i.state(&name(unit), &mut Vec::new()).unwrap());
    assert_eq!(state("a.service"), FileState::Disabled);
    let out = with(&tree, |i| i.enable(&[Target::Name(name("a.service"))]));
    assert_eq!((out.rules, out.failure()), (Some(3), None));
    assert_eq!(out.changes.iter().filter(|c| matches!(c, Change::Linked { .. })).count(), 3);
    assert!(out.changes.contains(&Change::AuxiliaryMissing("gone.service".into())));
    assert_eq!((state("a.service"), state("aa.service"), state("b.service")), (FileState::Enabled, FileState::Alias, FileState::Enabled));
    // again: nothing to do
    assert!(with(&tree, |i| i.enable(&[Target::Name(name("a.service"))])).changes.iter().all(|c| matches!(c, Change::AuxiliaryMissing(_))));
    let out = with(&tree, |i| i.disable(&[name("aa.service")]));
    assert_eq!(out.changes.len(), 3, "{out:?}");
    assert_eq!(std::fs::read_dir(tree.path.join("etc/systemd/system")).unwrap().count(), 0);
}

#[test]
fn nothing_leads_out_of_the_tree() {
    let tree = Tree::new("install-out");
    let outside = tree.path.with_extension("outside");
    std::fs::create_dir_all(&outside).unwrap();
    tree.unit("a.service", "[Service]\nExecStart=/bin/a\n[Install]\nWantedBy=m.target\n");
    tree.link_at("/etc/systemd/system/m.target.wants", outside.to_str().unwrap());
    let out = with(&tree, |i| i.enable(&[Target::Name(name("a.service"))]));
    assert!(out.failure().is_some() || std::fs::read_dir(&outside).unwrap().count() == 0, "{out:?}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    std::fs::remove_dir(&outside).unwrap();
}
