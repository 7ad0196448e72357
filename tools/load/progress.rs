//! The live line: what the last second did, on standard error.

use klamm::base::Moment;

use crate::tools::load::meter::Meter;

/// Shows a line each second, or nothing.
pub(crate) struct Progress {
    is_on: bool,
}

impl Progress {
    /// `is_on` says whether somebody looks.
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on }
    }

    /// Ends the seconds that are over, `due` records having been due, and shows them.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn end_seconds(
        &mut self,
        now: Moment,
        due: u64,
        meter: &mut Meter,
    ) -> Result<(), String> {
        while now >= meter.second_ends_at() {
            meter.end_second(due).map_err(|e| e.to_string())?;
            self.show(meter);
        }
        Ok(())
    }

    /// Shows the last second.
    fn show(&mut self, meter: &Meter) {
        let Some(s) = meter.series.last().filter(|_| self.is_on) else { return };
        let ms = |ns: u64| ns as f64 / 1e6;
        let phase = if meter.second_ends_at() <= meter.from { "warm-up" } else { "" };
        eprintln!(
            "{:>5} s  sent {}/s  acked {}/s  read {}/s  behind {}  ack ms p50 {:.2} p99 {:.2} max \
             {:.2}  e2e ms p50 {:.2} p99 {:.2} max {:.2}  {phase}",
            s.second + 1,
            s.sent,
            s.acked,
            s.consumed,
            s.behind,
            ms(s.ack_p50_ns),
            ms(s.ack_p99_ns),
            ms(s.ack_max_ns),
            ms(s.e2e_p50_ns),
            ms(s.e2e_p99_ns),
            ms(s.e2e_max_ns),
        );
    }
}
