//! What the loop has to do with a protocol of others.

use super::super::beside::Asked;
use super::Watch;

impl Watch<'_, '_> {
    /// Does what its clients ask for.
    pub(super) fn turn_beside(&mut self) {
        for asked in self.machine.beside.as_mut().map_or_else(Vec::new, |beside| beside.turn()) {
            match asked {
                Asked::Signal(signal) => self.pass_on(signal),
                Asked::Type(bytes) => {
                    if let Some(console) = &mut self.machine.console {
                        let _ = console.type_in(&bytes);
                    }
                }
            }
        }
    }

    /// What the console has just shown, to whoever looks on.
    pub(super) fn show_others(&mut self) {
        let Some(console) = &self.machine.console else { return };
        if let Some(control) = &mut self.machine.control {
            control.broadcast(console.fresh());
        }
        if let Some(beside) = &mut self.machine.beside {
            beside.shown(console.fresh());
        }
    }
}
