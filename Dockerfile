# sparsify in a container: docker build -t sparsify . && docker run --rm -it sparsify sparsify train --recipe pruned_quant
FROM debian:trixie-slim

COPY third_party/packages.txt /tmp/packages.txt
RUN apt-get update \
 && grep -vE '^[[:space:]]*(#|$)' /tmp/packages.txt | DEBIAN_FRONTEND=noninteractive xargs apt-get install -y --no-install-recommends \
 && rm -rf /var/lib/apt/lists/*

COPY . /opt/sparsify
WORKDIR /opt/sparsify
RUN ./dev build && ./dev run cmake --install build/release --prefix /usr/local

WORKDIR /data
CMD ["bash"]
