//! What an experiment on a setting has shown, for people.

use std::io::{self, Write};

use ninefold_tuning::experiment::effect::{Arm, Verdict};
use ninefold_tuning::experiment::prove::{Decision, Evidence};

use super::blank_table;

/// What would be done.
pub(crate) fn intent(
    words: &[String],
    pairs: usize,
    warmup: u8,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(
        out,
        "Each run would be `{}`: {pairs} pairs, {warmup} before them to warm up. Nothing was \
         written: --yes does it.",
        words.join(" ")
    )
}

/// The pairs, the interval, the decision.
pub(crate) fn table(of: &Evidence, out: &mut dyn Write) -> io::Result<()> {
    let mut table = blank_table(&["Pair", "First", "Off", "On", "Change"]);
    for (number, pair) in of.pairs.iter().enumerate() {
        table.add_row([
            (number + 1).to_string(),
            match pair.first {
                Arm::Off => "off".to_owned(),
                Arm::On => "on".to_owned(),
            },
            format!("{:.4}", pair.off),
            format!("{:.4}", pair.on),
            format!("{:+.2} %", (pair.on / pair.off - 1.0) * 100.0),
        ]);
    }
    writeln!(out, "{table}")?;
    let Some(effect) = of.effect else {
        return writeln!(out, "{}: no pair that counts; reverted.", of.setting);
    };
    let change = effect.change_percent;
    writeln!(
        out,
        "{}: change {:+.2} % ({:.0} % interval {:+.2} to {:+.2} %, {} pairs, chance {:.4}); least \
         that matters {} %.",
        of.setting,
        change.mid,
        effect.confidence * 100.0,
        change.low,
        change.high,
        effect.pairs,
        effect.chance,
        of.least_percent,
    )?;
    let shown = match effect.verdict {
        Verdict::Better => "It helps",
        Verdict::Worse => "It harms",
        Verdict::Same => "It makes no difference that matters",
        Verdict::Unclear => "Nothing is shown: more pairs, or a quieter host",
    };
    match (of.decision, of.journal) {
        (Decision::Kept, Some(journal)) => writeln!(
            out,
            "{shown}: kept; `ninefold-tune revert {journal} --yes` undoes it."
        ),
        _ => writeln!(out, "{shown}: reverted."),
    }
}
