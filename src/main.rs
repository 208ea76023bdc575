//! The program `slotkeeper`: everything it does lives in the library.

fn main() -> std::process::ExitCode {
    slotkeeper::cli::main()
}
