//! `list-dependencies`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use hostel_init::depend::{Graph, Relation};
use hostel_init::load::load;
use hostel_spec::{Arrange as _, Gather as _};
use hostel_unit::{Kind, UnitName};

use super::options::Options;
use super::say::names;
use super::{Outcome, catalogue, root};
use crate::output;

/// Most lines that are printed: `--all` repeats what hangs on several units.
const LINES_MAX: usize = 100_000;

pub(super) fn list_dependencies(options: &Options, words: &[String]) -> Outcome {
    let root = root(options)?;
    let catalogue = catalogue(options, &root)?;
    let usual = ["default.target".to_owned()];
    let asked = names("list-dependencies", if words.is_empty() { &usual } else { words })?;
    // who depends on a unit is known only when every unit is
    let mut from = asked.clone();
    if options.reverse || options.before {
        from.extend(catalogue.names().into_keys().filter(|name| !name.is_template()));
    }
    let graph = Graph::of(&from, catalogue.search.scope, &mut |name| load(&catalogue, name).into(), &|name| catalogue.has(name.as_str()));
    if options.json {
        let mut edges = Vec::new();
        for name in &asked {
            let own = graph.own(name).clone();
            let mut lines = Lines { graph: &graph, options, text: &mut String::new(), seen: BTreeSet::new(), path: Vec::new(), count: 0 };
            lines.edges(&own, &mut edges);
        }
        return Ok(output::show_json(&edges));
    }
    let mut text = String::new();
    for (i, name) in asked.iter().enumerate() {
        if i > 0 {
            text.push('\n');
        }
        let own = graph.own(name).clone();
        let _ = writeln!(text, "{own}");
        let mut lines =
            Lines { graph: &graph, options, text: &mut text, seen: std::iter::once(own.clone()).gather(), path: vec![own.clone()], count: 0 };
        lines.below(&own, &mut Vec::new());
    }
    Ok(output::show(&text))
}

struct Lines<'a> {
    graph: &'a Graph,
    options: &'a Options,
    text: &'a mut String,
    /// Without --all a unit is shown below each that has it, but followed once.
    seen: BTreeSet<UnitName>,
    path: Vec<UnitName>,
    count: usize,
}

impl Lines<'_> {
    fn next(&self, name: &UnitName) -> Vec<UnitName> {
        use Relation::{After, Before, BindsTo, PartOf, Requires, Requisite, Upholds, Wants};
        let (relations, forward): (&[Relation], bool) = match (self.options.after, self.options.before, self.options.reverse) {
            (true, _, _) => (&[After], true),
            (_, true, _) => (&[Before], true),
            (_, _, false) => (&[Requires, Requisite, Wants, BindsTo, Upholds], true),
            (_, _, true) => (&[Requires, Requisite, Wants, BindsTo, PartOf, Upholds], false),
        };
        let mut found: BTreeSet<&UnitName> = BTreeSet::new();
        for relation in relations {
            if forward {
                found.extend(self.graph.to(name, *relation));
            } else {
                found.extend(self.graph.from(name, *relation));
            }
        }
        // an order is known from both ends
        if self.options.after {
            found.extend(self.graph.from(name, Before));
        } else if self.options.before {
            found.extend(self.graph.from(name, After));
        }
        let mut found: Vec<UnitName> = found.into_iter().filter(|other| *other != name).cloned().collect();
        // targets last, as there
        found.arrange_by_key(|other| (other.kind() == Kind::Target, other.clone()));
        found
    }

    /// Every unit that is come to, once, with what is shown below it.
    fn edges(&mut self, name: &UnitName, edges: &mut Vec<serde_json::Value>) {
        let mut waiting = vec![name.clone()];
        while let Some(name) = waiting.pop() {
            if !self.seen.insert(name.clone()) {
                continue;
            }
            let next = self.next(&name);
            edges.push(serde_json::json!({ "unit": name.as_str(), "dependencies": next.iter().map(UnitName::as_str).collect::<Vec<_>>() }));
            waiting.extend(next.into_iter().filter(|other| self.options.all || other.kind() == Kind::Target));
        }
    }

    /// `bars` says for each level whether more follows on it.
    fn below(&mut self, name: &UnitName, bars: &mut Vec<bool>) {
        let next = self.next(name);
        for (i, other) in next.iter().enumerate() {
            self.count += 1;
            if self.count > LINES_MAX || self.options.plain && !self.options.all && self.seen.contains(other) && bars.is_empty() {
                continue;
            }
            let last = i + 1 == next.len();
            if self.options.plain {
                let _ = writeln!(self.text, "  {}{other}", "  ".repeat(bars.len()));
            } else {
                let rails: String = bars.iter().map(|more| if *more { "│ " } else { "  " }).collect();
                let _ = writeln!(self.text, "○ {rails}{}{other}", if last { "└─" } else { "├─" });
            }
            let follow = (self.options.all || other.kind() == Kind::Target) && !self.path.contains(other);
            if follow && (self.options.all || self.seen.insert(other.clone())) {
                bars.push(!last);
                self.path.push(other.clone());
                self.below(other, bars);
                self.path.pop();
                bars.pop();
            }
        }
    }
}
