use super::*;
use crate::depend::{Because, Dependency, Node, Relation};

/// A graph out of lines: `unit [+active] [-missing|-masked] [!isolate] [~ignore] [reload] [job=start] Relation=other,other …`.
fn graph(text: &str) -> Graph {
    let mut nodes = BTreeMap::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let mut words = line.split_whitespace();
        let name = unit(words.next().unwrap());
        let mut node = Node {
            state: LoadState::Loaded,
            dependencies: Vec::new(),
            is_active: false,
            allow_isolate: false,
            ignore_on_isolate: false,
            refuse_start: false,
            refuse_stop: false,
            can_reload: false,
            job: None,
            // no target is ordered but by these lines
            has_defaults: false,
        };
        for word in words {
            match word {
                "+active" => node.is_active = true,
                "-missing" => node.state = LoadState::NotFound,
                "-masked" => node.state = LoadState::Masked,
                "!isolate" => node.allow_isolate = true,
                "~ignore" => node.ignore_on_isolate = true,
                "reload" => node.can_reload = true,
                "refuse" => node.refuse_start = true,
                "job=start" => node.job = Some((JobType::Start, false)),
                "job=stop!" => node.job = Some((JobType::Stop, true)),
                _ => {
                    let (key, list) = word.split_once('=').unwrap();
                    let relation = Relation::ALL.iter().find(|(_, k)| *k == key).unwrap_or_else(|| panic!("{key}")).0;
                    let dependencies = list.split(',').map(|to| Dependency { relation, to: unit(to), because: Because::Default });
                    node.dependencies.extend(dependencies);
                }
            }
        }
        nodes.insert(name, node);
    }
    Graph::from_nodes(nodes)
}

fn unit(stem: &str) -> UnitName {
    UnitName::parse(&format!("{stem}.service")).unwrap()
}

/// The jobs as `start a, stop b`, or the fault.
fn jobs(text: &str, name: &str, kind: JobType, mode: JobMode) -> String {
    match transaction(&graph(text), &unit(name), kind, mode) {
        Ok(t) => {
            let mut all: Vec<String> = t.jobs.iter().map(|j| format!("{} {}", j.kind.word(), j.unit.stem())).collect();
            all.extend(t.dropped.iter().map(|(u, _)| format!("dropped {}", u.stem())));
            all.extend(t.cancelled.iter().map(|u| format!("cancelled {}", u.stem())));
            all.join(", ")
        }
        Err(fault) => fault.to_string().replace(".service", ""),
    }
}

use JobMode::{Fail, Flush, IgnoreDependencies, Isolate, Lenient, Replace, RestartDependencies, Triggering};
use JobType::{Reload, ReloadOrStart, Restart, Start, Stop, TryRestart};

#[rustfmt::skip]
const TABLE: &[(&str, &str, JobType, JobMode, &str)] = &[
    // what a start pulls in, and in which order
    ("a Requires=b Wants=c After=b Before=c\nb\nc", "a", Start, Replace, "start b, start a, start c"),
    ("a Requires=b\nb", "a", Start, Replace, "start a, start b"),
    ("a After=b\nb", "a", Start, Replace, "start a"),
    ("a BindsTo=b\nb Upholds=c\nc", "a", Start, Replace, "start a, start b, start c"),
    ("a Requires=b\nb +active", "a", Start, Replace, "start a"),
    ("a +active", "a", Start, Replace, "start a"),
    // what cannot be
    ("a Requires=b\nb -missing", "a", Start, Replace, "Unit b not found."),
    ("a Requires=b\nb -masked", "a", Start, Replace, "Unit b is masked."),
    ("a Wants=b\nb -missing", "a", Start, Replace, "start a"),
    ("a Wants=b,d\nb Requires=c Wants=e\nc -masked\nd\ne", "a", Start, Replace, "start a, start d"),
    ("a -masked", "a", Start, Replace, "Unit a is masked."),
    ("a -masked +active", "a", Stop, Replace, "stop a"),
    ("a refuse", "a", Start, Replace, "Operation refused, unit a may be requested by dependency only (it is configured to refuse manual start/stop)."),
    ("a Requires=b\nb refuse", "a", Start, Replace, "start a, start b"),
    ("a", "b", Start, Replace, "Unit b not found."),
    // verify
    ("a Requisite=b\nb", "a", Start, Replace, "start a, verify-active b"),
    ("a Requisite=b\nb +active", "a", Start, Replace, "start a"),
    ("a Requisite=b Requires=b\nb", "a", Start, Replace, "start a, start b"),
    // conflicts
    ("a Conflicts=b\nb +active", "a", Start, Replace, "start a, stop b"),
    ("a Conflicts=b After=b\nb +active", "a", Start, Replace, "stop b, start a"),
    ("a Conflicts=b Before=b\nb +active", "a", Start, Replace, "stop b, start a"),
    ("a\nb +active Conflicts=a", "a", Start, Replace, "start a, stop b"),
    ("a\nb +active Conflicts=a", "a", Start, Fail, "start a"),
    ("a Conflicts=b\nb +active", "a", Start, Fail, "start a, stop b"),
    ("a Conflicts=b\nb", "a", Start, Replace, "start a"),
    ("a Requires=b,c\nb Conflicts=c\nc", "a", Start, Replace, "Transaction contains conflicting jobs 'start' and 'stop' for a. Probably contradicting requirement dependencies configured."),
    ("a Wants=b,c\nb Conflicts=c\nc", "a", Start, Replace, "start a, start b"),
    ("a Requires=b Wants=c\nb Conflicts=c\nc", "a", Start, Replace, "start a, start b"),
    ("a Wants=b Requires=c\nb Conflicts=c\nc", "a", Start, Replace, "start a, start c"),
    // stops
    ("a +active\nb +active Requires=a After=a\nc +active PartOf=b\nd +active Wants=a", "a", Stop, Replace, "stop b, stop a, stop c"),
    ("a +active\nb +active BindsTo=a After=a", "a", Stop, Replace, "stop b, stop a"),
    ("a +active PropagatesStopTo=b\nb +active\nc +active StopPropagatedFrom=a", "a", Stop, Replace, "stop a, stop b, stop c"),
    ("a +active\nb Requires=a", "a", Stop, Replace, "stop a"),
    ("a +active\nb +active Before=a\nc +active After=a Requires=a", "a", Stop, Replace, "stop c, stop a"),
    // restarts
    ("a +active\nb +active Requires=a\nc Requires=a", "a", Restart, Replace, "restart a, restart b"),
    ("a +active\nb +active PartOf=a After=a", "a", Restart, Replace, "restart b, restart a"),
    ("a", "a", TryRestart, Replace, "nop a"),
    ("a +active", "a", TryRestart, Replace, "restart a"),
    ("a\nb +active PartOf=a", "a", Start, RestartDependencies, "start a, restart b"),
    ("a Requires=b\nb +active PartOf=a", "a", Restart, Replace, "restart a, restart b"),
    // reloads
    ("a +active reload PropagatesReloadTo=b,c,d\nb +active reload\nc reload\nd +active", "a", Reload, Replace, "reload a, reload b"),
    ("a +active", "a", Reload, Replace, "Job type reload is not applicable for unit a."),
    ("a reload", "a", ReloadOrStart, Replace, "start a"),
    ("a +active reload", "a", ReloadOrStart, Replace, "reload a"),
    // cycles
    ("a Requires=b After=b\nb After=a", "a", Start, Replace, "Transaction order is cyclic. See system logs for details."),
    ("a Wants=b After=b\nb After=a", "a", Start, Replace, "start a, dropped b"),
    ("a Requires=b Wants=c\nb After=c\nc Requires=d After=d\nd After=b", "a", Start, Replace, "start a, start b, dropped d"),
    ("a After=b Wants=b,c\nb After=c\nc", "a", Start, Replace, "start c, start b, start a"),
    // modes
    ("a !isolate\nb +active\nc +active ~ignore\nd +active Requires=b", "a", Start, Isolate, "start a, stop b, stop d"),
    ("a", "a", Start, Isolate, "Operation refused, unit may not be isolated."),
    ("a !isolate Wants=b\nb +active\nc job=start", "a", Start, Isolate, "start a, stop c"),
    ("a Requires=b\nb", "a", Start, IgnoreDependencies, "start a"),
    ("a job=start", "a", Stop, Fail, "Transaction for a is destructive (a has 'start' job queued, but 'stop' is included in transaction)."),
    ("a +active job=start", "a", Stop, Replace, "stop a"),
    ("a job=stop!", "a", Start, Replace, "Transaction for a is destructive (a has 'stop' job queued, but 'start' is included in transaction)."),
    ("a Wants=b\nb job=stop!", "a", Start, Fail, "start a"),
    ("a\nb job=start", "a", Start, Flush, "start a, cancelled b"),
    ("a Conflicts=b\nb +active", "a", Start, Lenient, "Transaction for a would stop b, which is running."),
    ("a +active\nb +active Triggers=a", "a", Stop, Triggering, "stop a, stop b"),
];

#[test]
fn table() {
    let mut wrong = Vec::new();
    for (text, name, kind, mode, expected) in TABLE {
        let found = jobs(text, name, *kind, *mode);
        if found != *expected {
            wrong.push(format!("{kind:?} {name} {mode:?} of\n{text}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn long_lines_of_units_are_no_danger() {
    let text: String = (0..5000).map(|i| format!("u{i:05} Requires=u{:05} After=u{:05}\n", i + 1, i + 1)).collect::<String>() + "u05000\n";
    let t = transaction(&graph(&text), &unit("u00000"), Start, Replace).unwrap();
    assert_eq!(t.jobs.len(), 5001);
    assert_eq!(t.jobs[0].unit.stem(), "u05000");
}

#[test]
fn reasons() {
    let t = transaction(&graph("a Requires=b After=b\nb Wants=c\nc"), &unit("a"), Start, Replace).unwrap();
    let because: Vec<_> = t.jobs.iter().map(|j| (j.unit.stem(), j.because.as_ref().map(UnitName::stem))).collect();
    assert_eq!(because, [("b", Some("a")), ("a", None), ("c", Some("b"))]);
    assert_eq!(t.jobs[1].after, [unit("b")]);
}
