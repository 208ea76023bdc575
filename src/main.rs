//! The program `slotkeeper`: everything it does lives in the library; only the memory allocator is chosen here.

/// Requests allocate on one thread and free on another; see ADR 11.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    slotkeeper::cli::main()
}
