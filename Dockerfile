# The container image of Slotkeeper.
#
# Targets:
#   runtime   (default) builds the program from these sources and puts it on a small base image; needs a registry, or
#             local images of the two names below
#   prebuilt  puts a program that was built outside, ./dist/slotkeeper or BINARY_DIR/slotkeeper, on BASE_IMAGE; needs
#             no registry when BASE_IMAGE is a local image (docker/make-base-image makes one)
#   build     only the compiler's stage, for looking inside
#
# Promises: runs as uid 10001 without any capability, on a read-only root file system; writes only below
# /var/lib/slotkeeper (a volume) and /tmp. The health check is the program itself, so the image needs neither curl nor
# a shell at run time.
#
# The legacy builder runs every stage above the wanted one. Therefore `prebuilt` stands above `build`, where nothing asks for
# the compiler's image, and its COPY is written so that a missing program fails nothing for those who want `runtime`.

ARG BASE_IMAGE=debian:bookworm-slim
ARG RUST_IMAGE=rust:1.95-slim-bookworm

FROM ${BASE_IMAGE} AS base
# Plain lines in place of useradd: a base image of libraries only has no such program. A named volume takes over owner and
# mode of the data folder when it is first used.
RUN echo 'slotkeeper:x:10001:10001:Slotkeeper:/var/lib/slotkeeper:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'slotkeeper:x:10001:' >> /etc/group \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/slotkeeper
ENV PATH=/opt/slotkeeper:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SLOTKEEPER_DATA_DIR=/var/lib/slotkeeper \
    SLOTKEEPER_SERVERS=http://127.0.0.1:7400
EXPOSE 7400 7401
USER 10001:10001
STOPSIGNAL SIGTERM
# `status` asks SLOTKEEPER_SERVERS, which is this container's own server unless an agent is told otherwise, and ends with 0
# only when it serves.
HEALTHCHECK --interval=5s --timeout=4s --start-period=15s --retries=6 CMD ["slotkeeper", "status"]
ENTRYPOINT ["slotkeeper"]
CMD ["--help"]

FROM base AS prebuilt
ARG BINARY_DIR=dist
# The brackets make a pattern of the name, which may match nothing; the manifest beside it always matches.
COPY Cargo.toml LICENSE* ${BINARY_DIR}/slotkeepe[r] /opt/slotkeeper/

FROM ${RUST_IMAGE} AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin slotkeeper

FROM base AS runtime
COPY Cargo.toml LICENSE* /opt/slotkeeper/
COPY --from=build /source/target/release/slotkeeper /opt/slotkeeper/slotkeeper
