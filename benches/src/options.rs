//! The command line.

use crate::Result;

/// `--help`.
pub(crate) const HELP: &str = "\
hostel-bench SCENARIO [OPTIONS]

scenarios: start variants network exec parse subhosts density size all

options:
  --rounds N        samples of each command (40)
  --quiet MS        wait so long for an idle machine before each sample; a sample without is dropped (300; 0: take any)
  --realtime        run it all with SCHED_FIFO: on a machine that is never idle, others then wait for us (with --quiet 0)
  --pause MS        sleep before each sample: the kernel's RCU-based locks go cold, as for a person's command (0)
  --machines N      most machines of `density` (500)
  --time S          stop after so many seconds with what there is (900)
  --only A,B        only these rows, and those they are measured against
  --json FILE       the figures as JSON; `-`: on standard output
  --hostel FILE     measure this binary instead of building one
  --other FILE      measure this hostel, too (`start`, `exec`): before and after a change, in one run
  --dev             build without optimisation (to test the benchmark itself)
";

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Start,
    Variants,
    Network,
    Exec,
    Parse,
    Subhosts,
    Density,
    Size,
}

const SCENARIOS: [(&str, Scenario); 8] = [
    ("start", Scenario::Start),
    ("variants", Scenario::Variants),
    ("network", Scenario::Network),
    ("exec", Scenario::Exec),
    ("parse", Scenario::Parse),
    ("subhosts", Scenario::Subhosts),
    ("density", Scenario::Density),
    ("size", Scenario::Size),
];

impl Scenario {
    pub(crate) fn name(self) -> &'static str {
        SCENARIOS.iter().find(|(_, s)| *s == self).map_or("", |(name, _)| name)
    }
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) scenario: Option<Scenario>,
    pub(crate) rounds: usize,
    pub(crate) quiet_ms: u64,
    pub(crate) realtime: bool,
    pub(crate) pause_ms: u64,
    pub(crate) machines: usize,
    pub(crate) seconds: u64,
    pub(crate) only: Vec<String>,
    pub(crate) json: Option<String>,
    pub(crate) hostel: Option<String>,
    pub(crate) other: Option<String>,
    pub(crate) dev: bool,
}

impl Options {
    /// `None`: help is wanted.
    pub(crate) fn parse(args: &[String]) -> Result<Option<Options>> {
        let mut options = Options {
            scenario: None,
            rounds: 40,
            quiet_ms: 300,
            realtime: false,
            pause_ms: 0,
            machines: 500,
            seconds: 900,
            only: Vec::new(),
            json: None,
            hostel: None,
            other: None,
            dev: false,
        };
        let mut named = false;
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().cloned().ok_or_else(|| format!("option {word} takes a value"));
            let number = |text: String| text.parse::<u64>().map_err(|_| format!("option {word}: {text:?} is no number"));
            match word.as_str() {
                "-h" | "--help" => return Ok(None),
                "--rounds" => options.rounds = number(value()?)?.clamp(1, 100_000) as usize,
                "--quiet" => options.quiet_ms = number(value()?)?,
                "--realtime" => options.realtime = true,
                "--pause" => options.pause_ms = number(value()?)?,
                "--machines" => options.machines = number(value()?)?.clamp(1, 5000) as usize,
                "--time" => options.seconds = number(value()?)?,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--json" => options.json = Some(value()?),
                "--hostel" => options.hostel = Some(value()?),
                "--other" => options.other = Some(value()?),
                "--dev" => options.dev = true,
                "all" => named = true,
                name => {
                    let found = SCENARIOS.iter().find(|(n, _)| *n == name);
                    options.scenario = Some(found.ok_or_else(|| format!("there is no scenario or option {name:?}; --help lists them"))?.1);
                    named = true;
                }
            }
        }
        Ok(named.then_some(options))
    }

    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        match self.scenario {
            Some(one) => vec![one],
            None => SCENARIOS.iter().map(|(_, s)| *s).collect(),
        }
    }
}
