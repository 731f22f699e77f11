import FastVLM
import FastVLMEmbedded
import Foundation
import Logging
import Synchronization
import TestSupport

@testable import FastVLMServer

/// What a request came to.
struct Reply: Sendable {
    var head: ResponseHead
    var body: Data
    /// How many pieces it came in; 0 for a whole one.
    var pieces: Int

    var text: String { String(decoding: body, as: UTF8.self) }

    var json: [String: Any] {
        (try? JSONSerialization.jsonObject(with: body)) as? [String: Any] ?? [:]
    }

    /// The objects of server-sent events, or of lines.
    var events: [[String: Any]] {
        text.split(separator: "\n").compactMap { line in
            let line = line.hasPrefix("data: ") ? line.dropFirst(6) : line
            return (try? JSONSerialization.jsonObject(with: Data(line.utf8))) as? [String: Any]
        }
    }
}

/// Parts of a response as they come.
final class PartCollector: Sendable {
    private let parts = Mutex<[ResponsePart]>([])

    func add(_ part: ResponsePart) { parts.withLock { $0.append(part) } }

    var reply: Reply? {
        let parts = parts.withLock { $0 }
        switch parts.first {
        case .whole(let head, let body): return Reply(head: head, body: body, pieces: 0)
        case .head(let head):
            let pieces = parts.dropFirst().compactMap { if case .bytes(let data) = $0 { data } else { nil } }
            return Reply(head: head, body: pieces.reduce(Data(), +), pieces: pieces.count)
        default: return nil
        }
    }
}

/// A service with the embedded model.
func service(
    models: [ServedModel] = [ServedModel(id: "fastvlm-small", source: .embedded)],
    logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
    _ change: (inout ServerOptions) -> Void = { _ in }
) -> FastVLMService {
    var options = ServerOptions()
    options.version = "test"
    options.maximumTokens = 64
    change(&options)
    return FastVLMService(models, options: options, registry: MetricsRegistry(), logger: logger)
}

extension FastVLMService {
    /// Does what the sockets would do.
    func call(
        _ method: String, _ target: String, _ body: String? = nil, headers: HeaderFields = [:],
        host: String? = "127.0.0.1:8080"
    ) async -> Reply {
        await call(method, target, data: body.map { Data($0.utf8) }, headers: headers, host: host)
    }

    func call(
        _ method: String, _ target: String, data body: Data?, headers: HeaderFields = [:],
        host: String? = "127.0.0.1:8080"
    ) async -> Reply {
        let collector = PartCollector()
        var headers = headers
        if let body { headers.set("content-length", "\(body.count)") }
        let head = RequestHead(method: method, target: target, host: host, headers: headers)
        if let reception = receive(head, send: collector.add) {
            await respond(to: reception, body: body ?? Data(), send: collector.add)
        }
        return collector.reply ?? Reply(head: ResponseHead(0), body: Data(), pieces: 0)
    }
}

/// A sample image as a data address.
func sample(_ name: String) throws -> String {
    let url = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Samples/\(name)")
    return "data:image/png;base64," + (try Data(contentsOf: url)).base64EncodedString()
}

/// A question about a sample image, in OpenAI's form.
func question(_ text: String, _ image: String, _ more: String = "") throws -> String {
    #"""
    {"messages":[{"role":"user","content":[{"type":"text","text":"\#(text)"},
     {"type":"image_url","image_url":{"url":"\#(try sample(image))","detail":"low"}}]}]\#(more)}
    """#
}
