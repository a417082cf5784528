// Package e2e holds sregfs against the programs it is made for: the real Apptainer runs, builds, inspects and signs
// images on a real mount of the emulated Drive, as root and as an ordinary user, and nothing is called that a person
// could not type. The tests have the build tag e2e and are run by `make e2e`.
//
// In: the sregfs binary (SREGFS_BIN, else it is built), the Apptainer root (scripts/apptainer-root), and root's
// rights, for the namespaces that scripts/in-apptainer-root enters the root in. Each test starts a Drive of its own
// (`sregfs emulator`) for ann@uni.edu and bob@uni.edu, and mounts it with an empty state, as a machine does that
// never saw the registry: "cold" here is not a flag but the absence of everything that could be warm.
//
// Out: besides passing, the figures of a cold start, from the emulator's own request log.
//
// Without the Apptainer root the tests fail and say why; SREGFS_E2E=skip skips them, and they say that too.
//
// How images run here, as found with Apptainer 1.4:
//   - root runs them through a kernel loop mount, and needs --no-privs where the machine lacks CAP_SYS_RESOURCE
//     ("Requesting capability set …" otherwise);
//   - an ordinary user runs them in a user namespace through squashfuse_ll, and needs /dev/fuse at mode 0666;
//   - a mount made by root is seen by others only with --allow-other; a mount made by an ordinary user is seen by that
//     user only, and root cannot even look at its mount point, so the directory above it is what is bound;
//   - `apptainer key newpair` asks nothing when --password is given, be it empty.
package e2e
