import Foundation
import Testing

@testable import WireFormats

@Suite("Lines of a batch")
struct BatchLineTests {
    private func line(_ json: String) throws -> BatchLine { try BatchLine(Data(json.utf8)) }

    private func request(_ json: String, question: String? = nil) throws -> ChatRequest {
        try line(json).request(question: question)
    }

    private func message(_ json: String) -> String? {
        do {
            _ = try request(json)
            return nil
        } catch { return (error as? RequestError)?.message ?? "\(error)" }
    }

    @Test("A question about an image, with options; what is not read is named")
    func plain() throws {
        let json = #"""
            {"id":"a","image":"dir/a.jpg","question":"What is this?","max_tokens":5,"temperature":0.5,"seed":7,
             "stop":["x"],"response_format":{"type":"json_object"},"label":"cat"}
            """#
        #expect(try line(json).id == .text("a"))
        #expect(try line(json).form == .plain)
        let request = try request(json)
        #expect(
            request.messages
                == [ChatMessage(.user, [.image(.file("dir/a.jpg")), .text("\nWhat is this?")])])
        #expect(request.parameters.maximumTokens == 5 && request.parameters.seed == 7)
        #expect(request.parameters.temperature == 0.5 && request.parameters.stop == ["x"])
        #expect(request.parameters.format == .jsonObject && request.ignored == ["label"])
    }

    @Test("Images are paths, file: and https: addresses, data: addresses, base64, or say what they are")
    func images() throws {
        let bytes = Data([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A] + (0..<70).map { UInt8($0) })
        let base64 = bytes.base64EncodedString()
        let json = #"""
            {"question":"?","images":["/a b.jpg","file:///c%20d.png","https://x.example/e.png",
             "data:image/png;base64,\#(base64)","\#(base64)",{"path":"iVBORw0KGgo"},{"base64":"AAEC"},
             {"url":"HTTPS://x.example/f"}]}
            """#
        #expect(
            try request(json).images == [
                .file("/a b.jpg"), .file("/c d.png"), .address("https://x.example/e.png"), .data(bytes),
                .data(bytes), .file("iVBORw0KGgo"), .data(Data([0, 1, 2])), .address("HTTPS://x.example/f"),
            ])
        // A hash for a name is a path, however it begins.
        let hash = "iVBORw0KGgo" + String(repeating: "A", count: 77)
        #expect(try request(#"{"image":"\#(hash)","question":"?"}"#).images == [.file(hash)])
        for wrong in [
            #""""#, #""a\u0000b""#, "7", #"{"path":"a","url":"b"}"#, #"{"path":1}"#, #"{"file":"a"}"#,
            #"{"base64":"a.b"}"#, #""file://elsewhere/a.png""#, #""data:image/png,abc""#, #"{"path":""}"#,
        ] {
            #expect(message(#"{"image":\#(wrong),"question":"?"}"#) != nil, "\(wrong)")
        }
    }

    @Test("Conversations: OpenAI's parts with paths, and images beside the text of a turn")
    func messages() throws {
        let request = try request(
            #"""
            {"id":1,"system":"Be brief.","messages":[
              {"role":"user","content":"What is this?","images":["a.png"]},
              {"role":"assistant","content":"A cat."},
              {"role":"user","content":[{"type":"text","text":"And this:"},
                {"type":"image_url","image_url":{"url":"b.png"}},{"type":"image","image":"c.png"},
                {"type":"text","text":"?"}]}]}
            """#)
        #expect(request.messages.map(\.role) == [.system, .user, .assistant, .user])
        #expect(request.images == [.file("a.png"), .file("b.png"), .file("c.png")])
        #expect(request.messages[0].text == "Be brief.")
        #expect(message(#"{"messages":[{"role":"user","content":"a"}],"question":"b"}"#) != nil)
        #expect(message(#"{"messages":[{"role":"user","content":"a"}],"image":"b.png"}"#) != nil)
        #expect(
            message(
                #"{"system":"a","messages":[{"role":"system","content":"b"},{"role":"user","content":"c"}]}"#)
                != nil)
    }

    @Test("A line of an OpenAI batch file")
    func openAI() throws {
        let json = #"""
            {"custom_id":"r-1","method":"POST","url":"/v1/chat/completions","body":{"model":"m","max_tokens":3,
             "messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"a.png"}},
             {"type":"text","text":"What?"}]}]}}
            """#
        #expect(try line(json).id == .text("r-1"))
        #expect(try line(json).form == .openAI)
        let request = try request(json)
        #expect(request.images == [.file("a.png")] && request.parameters.maximumTokens == 3)
        #expect(request.ignored.isEmpty && request.model == "m")
        #expect(message(json.replacing("POST", with: "GET"))?.contains("method") == true)
        #expect(
            message(json.replacing("chat/completions", with: "embeddings"))?.contains("/v1/chat/completions")
                == true)
        #expect(message(#"{"custom_id":"a"}"#)?.contains("body") == true)
        #expect(
            message(json.replacing("\"model\"", with: "\"n\":2,\"model\""))?.contains("n must be 1") == true)
    }

    @Test("A server reads no paths")
    func server() {
        #expect(throws: RequestError.self) {
            try OpenAI.chatRequest(
                Data(
                    #"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"a.png"}}]}]}"#
                        .utf8))
        }
        #expect(throws: RequestError.self) { try ImageReference(url: "file:///a.png", parameter: "x") }
    }

    @Test("Ids are texts or integers; a line without one has none")
    func ids() throws {
        #expect(try line(#"{"id":7}"#).id == .number(7))
        #expect(try line("{}").id == nil)
        #expect(try line(#"{"id":null}"#).id == nil)
        for wrong in [#""""#, "1.5", "[]", "true", #""\#(String(repeating: "a", count: 4097))""#] {
            #expect(throws: RequestError.self, "\(wrong.prefix(9))") { try line(#"{"id":\#(wrong)}"#) }
        }
        for wrong in ["", "[]", "7", "{", #"{"id":1}{}"#, #"{"id":1,"id":2}"#] {
            #expect(throws: RequestError.self, "\(wrong)") { try line(wrong) }
        }
    }

    @Test("A question may come from elsewhere, but there must be one")
    func question() throws {
        #expect(try request(#"{"prompt":"a"}"#).messages == [ChatMessage(.user, [.text("a")])])
        #expect(try request(#"{"image":"a.png"}"#, question: "b").messages.last?.text == "\nb")
        #expect(try request(#"{"question":"a"}"#, question: "b").messages.last?.text == "a")
        #expect(message(#"{"image":"a.png"}"#)?.contains("no question") == true)
        #expect(message(#"{"question":"a","prompt":"b"}"#) != nil)
        #expect(message(#"{"question":""}"#) != nil)
    }
}
