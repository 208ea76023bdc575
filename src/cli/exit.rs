//! The exit statuses of the command line. Scripts rely on them, so they never change their meaning.

use std::process::ExitCode;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// It is done.
    Done,
    /// The cluster said no.
    Refused,
    /// The command line can not be meant.
    Usage,
    /// Nobody could be asked, or it is not known whether it was done.
    Unavailable,
    /// The program itself is wrong.
    Bug,
}

impl Exit {
    /// The status as a number.
    pub(super) fn status(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
            Self::Bug => 70,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.status())
    }
}
