//! Compiles the wire contract with the vendored protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "dawn/v1/isolation.proto",
        "dawn/v1/policy.proto",
        "dawn/v1/job.proto",
        "dawn/v1/batch.proto",
        "dawn/v1/quota.proto",
        "dawn/v1/task.proto",
        "dawn/v1/client.proto",
        "dawn/v1/reach.proto",
        "dawn/v1/admin.proto",
        "dawn/v1/inspect.proto",
        "dawn/v1/plan.proto",
        "dawn/v1/restore.proto",
        "dawn/v1/agent.proto",
        "dawn/v1/executor.proto",
        "dawn/v1/update.proto",
        "dawn/v1/maintenance.proto",
        "dawn/v1/loss.proto",
        "dawn/v1/blame.proto",
        "dawn/v1/welcome.proto",
        "dawn/v1/journal.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let mut config = tonic_prost_build::Config::new();
    config.protoc_executable(protoc_bin_vendored::protoc_bin_path()?);
    config.btree_map(["."]);
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    config.file_descriptor_set_path(out.join("dawn.v1.bin"));
    // The large ones, so that the many small records don't each take their room.
    for record in ["job_versioned", "agent_seen"] {
        config.boxed(format!(".dawn.v1.Record.record.{record}"));
    }
    tonic_prost_build::configure().compile_with_config(config, &files, &["."])?;
    Ok(())
}
