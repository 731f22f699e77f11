#if TLS
    internal import Dispatch
    internal import Foundation
    internal import HummingbirdCore
    internal import Logging
    internal import NIOCore
    internal import NIOSSL
    internal import Synchronization

    /// Connections with TLS. SIGHUP reads the certificate anew for those that come afterwards.
    struct SecureChannel: ServerChildChannel {
        typealias Value = HTTP1Channel.Value

        private let base: HTTP1Channel
        private let contexts: CertificateContexts

        init(_ base: HTTP1Channel, _ certificate: HTTPListener.Certificate, logger: Logger)
            throws(HTTPListener.Failure)
        {
            self.base = base
            contexts = try CertificateContexts(certificate, logger: logger)
        }

        func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: contexts.current))
            }.flatMap {
                base.setup(channel: channel, logger: logger)
            }
        }

        func handle(value: Value, logger: Logger) async { await base.handle(value: value, logger: logger) }
    }

    private final class CertificateContexts: Sendable {
        private let context: Mutex<NIOSSLContext>
        private let source: Mutex<SignalSource?>

        init(_ certificate: HTTPListener.Certificate, logger: Logger) throws(HTTPListener.Failure) {
            context = Mutex(try Self.read(certificate))
            source = Mutex(nil)
            signal(SIGHUP, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: SIGHUP, queue: .global())
            source.setEventHandler { [weak self] in
                do {
                    let context = try Self.read(certificate)
                    self?.context.withLock { $0 = context }
                    logger.notice("certificate read anew")
                } catch {
                    // The old one stays in use.
                    logger.error("cannot read the certificate", metadata: ["error": "\(error)"])
                }
            }
            source.resume()
            let kept = SignalSource(base: source)
            self.source.withLock { $0 = kept }
        }

        deinit { source.withLock { $0?.base.cancel() } }

        var current: NIOSSLContext { context.withLock { $0 } }

        private static func read(
            _ certificate: HTTPListener.Certificate
        ) throws(HTTPListener.Failure) -> NIOSSLContext {
            let chain = try part("certificate", certificate.chain) { try NIOSSLCertificate.fromPEMFile($0) }
            let key = try part("private key", certificate.privateKey) {
                try NIOSSLPrivateKey(file: $0, format: .pem)
            }
            var configuration = TLSConfiguration.makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = ["http/1.1"]
            return try part("certificate and key", certificate.chain) { _ in
                try NIOSSLContext(configuration: configuration)
            }
        }

        /// - Throws: what is wrong with a file, by its name.
        private static func part<Value>(
            _ what: String, _ path: String, _ read: (String) throws -> Value
        ) throws(HTTPListener.Failure) -> Value {
            do {
                // The library names no file.
                _ = try FileHandle(forReadingFrom: URL(filePath: path)).close()
                return try read(path)
            } catch let error as CocoaError {
                throw .certificate("cannot read the \(what) '\(path)': \(error.localizedDescription)")
            } catch {
                throw .certificate(
                    "the \(what) '\(path)' cannot be used (\(error)); it takes PEM, and a key that belongs to the first "
                        + "certificate")
            }
        }
    }
#endif
