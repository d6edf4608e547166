//! The protocols by which terminals show pictures.

use clap::ValueEnum;

/// The ways to show pictures, as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// Whatever the terminal supports
    Auto,
    /// Kitty, Ghostty
    Kitty,
    /// `iTerm2`, `WezTerm`, Konsole, mintty
    Iterm2,
    /// Sixels: foot, xterm, Windows Terminal, tmux
    Sixel,
    /// Half blocks, on any terminal with colours
    Blocks,
}
