package import Foundation
internal import Logging

/// Header fields in their order; names in any case.
package struct HeaderFields: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    package struct Field: Sendable, Equatable {
        package let name: String
        package let value: String
    }

    package private(set) var fields: [Field] = []

    package init() {}

    package init(dictionaryLiteral elements: (String, String)...) {
        for (name, value) in elements { append(name, value) }
    }

    /// The first field of a name.
    package subscript(name: String) -> String? {
        fields.first { $0.name == name.lowercased() }?.value
    }

    package mutating func append(_ name: String, _ value: String) {
        fields.append(Field(name: name.lowercased(), value: value))
    }

    /// Puts a field in the place of all others of its name.
    package mutating func set(_ name: String, _ value: String) {
        fields.removeAll { $0.name == name.lowercased() }
        append(name, value)
    }
}

/// A request before its body is read.
package struct RequestHead: Sendable {
    package var method: String
    /// With its query, as the client wrote it.
    package var target: String
    /// What the client calls the server: the `Host` field.
    package var host: String?
    package var headers: HeaderFields

    package init(method: String, target: String, host: String?, headers: HeaderFields = [:]) {
        self.method = method
        self.target = target
        self.host = host
        self.headers = headers
    }

    /// Without the query, percent escapes resolved; nil where that is no text.
    var path: String? {
        let path = target.prefix { $0 != "?" && $0 != "#" }
        return String(path).removingPercentEncoding
    }
}

/// What a response begins with.
package struct ResponseHead: Sendable, Equatable {
    package var status: Int
    package var headers: HeaderFields
    /// Whether the connection ends with this response, what the client still sends unread.
    package var closesConnection = false

    package init(_ status: Int, _ headers: HeaderFields = [:]) {
        self.status = status
        self.headers = headers
    }
}

/// A response, or what comes of one.
package enum ResponsePart: Sendable, Equatable {
    /// All of it at once.
    case whole(ResponseHead, Data)
    /// The beginning of one that comes in pieces.
    case head(ResponseHead)
    case bytes(Data)
}

/// A plain response.
package struct Response: Sendable {
    package var head: ResponseHead
    package var body: Data

    init(_ status: Int, _ headers: HeaderFields = [:], _ body: Data = Data()) {
        head = ResponseHead(status, headers)
        self.body = body
    }

    init(_ status: Int = 200, type: String, _ body: Data) {
        self.init(status, ["content-type": type], body)
    }

    init(_ status: Int = 200, text: String) {
        self.init(status, type: "text/plain; charset=utf-8", Data(text.utf8))
    }
}

/// One request on its way to its response.
final class Exchange: Sendable {
    let head: RequestHead
    let route: Route
    /// What stands in the path for the route's last component.
    let argument: String
    let id: String
    let start: ContinuousClock.Instant
    let body: Data
    let logger: Logger
    private let headers: HeaderFields
    private let journal: ExchangeJournal
    private let send: @Sendable (ResponsePart) -> Void

    init(
        _ reception: Reception, body: Data, logger: Logger, send: @escaping @Sendable (ResponsePart) -> Void
    ) {
        head = reception.head
        route = reception.route
        argument = reception.argument
        id = reception.id
        start = reception.start
        self.body = body
        headers = reception.headers
        journal = reception.journal
        self.logger = logger
        self.send = send
    }

    /// Names what of the request had no effect, in the log and in a header of the response.
    func note(ignored: [String], remarks: [String]) {
        guard !ignored.isEmpty || !remarks.isEmpty else { return }
        let names = ignored.prefix(20).map(Self.printable)
        journal.ignore(names + (ignored.count > 20 ? ["\(ignored.count - 20) more"] : []))
        var metadata: Logger.Metadata = [:]
        if !names.isEmpty { metadata["ignored"] = "\(names.joined(separator: " "))" }
        if !remarks.isEmpty { metadata["remarks"] = "\(remarks.joined(separator: "; "))" }
        logger.notice("parts of the request have no effect, or another place", metadata: metadata)
    }

    /// A name that can stand in a header and in a log.
    static func printable(_ name: String) -> String {
        String(
            String.UnicodeScalarView(
                name.unicodeScalars.prefix(64).map { scalar in
                    let isPlain =
                        scalar.isASCII
                        && (scalar.properties.isAlphabetic
                            || "0123456789_-.[]".unicodeScalars.contains(scalar))
                    return isPlain ? scalar : "?"
                }))
    }

    func respond(_ response: Response) {
        var response = response
        complete(&response.head)
        let body = head.method == "HEAD" ? Data() : response.body
        if response.head.status != 204 {
            response.head.headers.set("content-length", "\(response.body.count)")
        }
        journal.begin(status: response.head.status)
        send(.whole(response.head, body))
    }

    /// Begins a response that comes in pieces.
    func begin(_ responseHead: ResponseHead) {
        var responseHead = responseHead
        complete(&responseHead)
        journal.begin(status: responseHead.status)
        send(.head(responseHead))
    }

    var hasBegun: Bool { journal.hasBegun }

    /// The response ends before its time, or never began.
    /// - Parameter status: for the log, what would have been sent instead
    func cutOff(status: Int) { journal.cutOff(status: status) }

    /// Something worth a field in the log's line.
    func add(_ name: String, _ value: String) { journal.add(name, value) }

    func write(_ data: Data) { send(.bytes(data)) }

    private func complete(_ responseHead: inout ResponseHead) {
        for field in headers.fields where responseHead.headers[field.name] == nil {
            responseHead.headers.append(field.name, field.value)
        }
        let ignored = journal.ignored
        if !ignored.isEmpty { responseHead.headers.set("x-fastvlm-ignored", ignored.joined(separator: ", ")) }
    }
}
