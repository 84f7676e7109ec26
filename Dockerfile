# The operator as one static file in an empty image.
#
#   docker build --tag registry.example.com/clickhouse-user-operator:0.1.0 .

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# make build refuses a binary that is not static or too large.
RUN make build

FROM scratch
# Roots for the clouds' certificates; the API server's own root comes with the service account.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/bin/clickhouse-user-operator /clickhouse-user-operator
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# By number, so that the kubelet can see that it is not root.
USER 65532:65532
# 8080 metrics, 8081 health
EXPOSE 8080 8081
ENTRYPOINT ["/clickhouse-user-operator"]
CMD ["run"]
LABEL org.opencontainers.image.title="clickhouse-user-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
