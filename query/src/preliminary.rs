//! Hits by embeddings alone, shown on the terminal until the reranked ones replace them.

use bridgetower::search::Hit;
use console::{Term, style};

use crate::args::Program;
use crate::output::Columns;

/// Lines of the terminal that are left free: for the progress bar, and the cursor.
const LINES_LEFT: usize = 2;

/// The preliminary output on the terminal.
pub struct Preliminary {
    /// None if stdout is not a terminal, or one that cannot erase lines, or if they are not wanted.
    terminal: Option<Term>,
    lines: usize,
}

impl Preliminary {
    pub fn new(program: &Program) -> Self {
        let terminal = Term::stdout();
        let is_table = program.search.format.is_table();
        let is_wanted = is_table && !program.output.quiet;
        let can_replace = terminal.is_term() && !console::is_dumb();
        Self {
            terminal: Some(terminal).filter(|_| is_wanted && can_replace),
            lines: 0,
        }
    }

    /// Shows the best `top` of `hits`, one per line, as many as fit on the screen.
    pub fn show(&mut self, hits: &[Hit], top: usize) -> std::io::Result<()> {
        let Some(terminal) = &self.terminal else {
            return Ok(());
        };
        let (rows, _) = terminal.size();
        let room = usize::from(rows).saturating_sub(LINES_LEFT);
        // A line that wraps would be more lines than are counted.
        let columns = Columns::of(terminal).narrower();
        let shown = (1..).zip(hits.iter().take(top));
        let lines = shown.map(|(rank, hit)| columns.row(rank, hit, "…"));
        for line in std::iter::once(columns.heading()).chain(lines).take(room) {
            terminal.write_line(&style(line).dim().to_string())?;
            self.lines += 1;
        }
        Ok(())
    }

    /// Erases it, with everything below it.
    pub fn clear(&mut self) -> std::io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        match &self.terminal {
            Some(terminal) if lines > 0 => {
                terminal.move_cursor_up(lines)?;
                terminal.clear_to_end_of_screen()
            }
            _ => Ok(()),
        }
    }
}
