//! The `btc` command; see `btc::cli`.

fn main() -> std::process::ExitCode {
    btc::cli::main()
}
