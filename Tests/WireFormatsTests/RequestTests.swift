import Foundation
import Testing

@testable import WireFormats

@Suite("Requests of OpenAI's and Ollama's clients")
struct RequestTests {
    private func openAI(_ json: String) throws -> ChatRequest { try OpenAI.chatRequest(Data(json.utf8)) }

    private let hello = #""messages":[{"role":"user","content":"Hello"}]"#

    @Test("Every option has its place")
    func options() throws {
        let request = try openAI(
            #"""
            {"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":5,
             "max_completion_tokens":7,"temperature":0.5,"top_p":0.9,"top_k":-1,"min_p":0.1,
             "repetition_penalty":1.1,"frequency_penalty":0.2,"presence_penalty":-0.3,"seed":-1,"stop":"x",
             "n":3,"logprobs":true,"top_logprobs":2,"stop_token_ids":[4],"resolution":512,"logit_bias":{"5":-1.5},"user":"u",
             "response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object"}}},
             "messages":[{"role":"user","content":"Hello"}]}
            """#)
        #expect(request.model == "m" && request.streams && request.includesUsage && request.count == 3)
        let parameters = request.parameters
        #expect(parameters.maximumTokens == 7)
        #expect(parameters.temperature == 0.5 && parameters.topP == 0.9 && parameters.topK == 0)
        #expect(parameters.minP == 0.1 && parameters.repetitionPenalty == 1.1)
        #expect(parameters.frequencyPenalty == 0.2 && parameters.presencePenalty == -0.3)
        #expect(parameters.seed == UInt64.max && parameters.stop == ["x"] && parameters.stopIDs == [4])
        #expect(parameters.logProbabilities == 2 && parameters.resolution == 512)
        #expect(parameters.format == .jsonSchema(#"{"type":"object"}"#))
        #expect(request.ignored.isEmpty && parameters.logitBias == [5: -1.5])
    }

    @Test("Unknown fields of any type are ignored and named, null ones are not there")
    func unknown() throws {
        let request = try openAI(
            #"""
            {"tools":[{"type":"function"}],"reasoning":true,"x":null,"stop":null,
             "stream_options":{"chunk":1},"messages":[{"role":"user","odd":[[]],"content":[
             {"type":"text","text":"Hello","more":{}}]}]}
            """#)
        #expect(
            Set(request.ignored) == [
                "tools", "reasoning", "stream_options.chunk", "messages[0].odd",
                "messages[0].content[0].more",
            ])
    }

    @Test("What a message says beside its text is named, where it could mean something")
    func messageFields() throws {
        let image = #"{"type":"image_url","image_url":{"url":"data:;base64,AQ==","detail":"D","other":1}}"#
        func ignored(_ detail: String) throws -> Set<String> {
            Set(
                try openAI(
                    #"""
                    {"messages":[{"role":"user","name":"me","content":[\#(image.replacing("D", with: detail)),"A"]},
                     {"role":"assistant","content":"B","function_call":{},"refusal":"no","annotations":[]},
                     {"role":"tool","tool_call_id":"1","content":"C"}],"user":"u","metadata":{},"store":true}
                    """#
                ).ignored)
        }
        let always: Set = [
            "messages[0].name", "messages[0].content[0].image_url.other", "messages[1].function_call",
            "messages[2].tool_call_id",
        ]
        #expect(try ignored("auto") == always)
        #expect(try ignored("low") == always.union(["messages[0].content[0].image_url.detail"]))
    }

    @Test("Contents are a string, nothing, or a list of strings and parts")
    func contents() throws {
        let request = try openAI(
            #"""
            {"messages":[{"role":"developer","content":[{"type":"text","text":"S"}]},
             {"role":"user","content":["A",{"type":"image_url","image_url":{"url":"data:;base64,AQ==","detail":"low"}}]},
             {"role":"assistant","content":null,"tool_calls":[]},
             {"role":"tool","tool_call_id":"1","content":"B"},
             {"role":"user","content":[{"type":"input_image","image_url":"Ag=="},
              {"type":"image","source":{"type":"base64","data":"Aw=="}},{"type":"input_text","text":"C"}]}]}
            """#)
        #expect(request.images == [1, 2, 3].map { .data(Data([$0])) })
        #expect(request.messages.map(\.role) == [.system, .user, .assistant, .user])
        #expect(
            request.messages.last?.text == "\nB\n\nC" || request.messages.last?.text.contains("B") == true)
    }

    @Test(
        "What is wrong is refused with the field's name",
        arguments: [
            (#"{"messages":[]}"#, "messages"), (#"{"messages":"x"}"#, "messages"), (#"{}"#, "messages"),
            (#"{"messages":[3]}"#, "messages[0]"),
            (#"{"messages":[{"role":"king","content":"x"}]}"#, "messages[0].role"),
            (#"{"messages":[{"role":"user","content":5}]}"#, "messages[0].content"),
            (#"{"messages":[{"role":"user"}]}"#, "messages[0].content"),
            (
                #"{"messages":[{"role":"user","content":[{"type":"video_url"}]}]}"#,
                "messages[0].content[0].type"
            ),
            (
                #"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"../etc/passwd"}}]}]}"#,
                "messages[0].content[0].image_url"
            ),
            (#"{"temperature":3,HELLO}"#, "temperature"), (#"{"temperature":NaN,HELLO}"#, "temperature"),
            (#"{"temperature":"hot",HELLO}"#, "temperature"), (#"{"max_tokens":0,HELLO}"#, "max_tokens"),
            (#"{"max_tokens":1.5,HELLO}"#, "max_tokens"), (#"{"max_tokens":-1,HELLO}"#, "max_tokens"),
            (#"{"max_tokens":1e999,HELLO}"#, nil), (#"{"n":5,HELLO}"#, "n"), (#"{"n":0,HELLO}"#, "n"),
            (#"{"top_logprobs":3,HELLO}"#, "top_logprobs"), (#"{"stop":[1],HELLO}"#, "stop"),
            (#"{"stream":"yes",HELLO}"#, "stream"), (#"{"logit_bias":{"a":1},HELLO}"#, "logit_bias"),
            (#"{"logit_bias":{"1":101},HELLO}"#, "logit_bias"), (#"{"logit_bias":[1],HELLO}"#, "logit_bias"),
            (#"{"seed":1.5,HELLO}"#, "seed"),
            (#"{"response_format":{"type":"xml"},HELLO}"#, "response_format.type"),
            (#"{"response_format":{"type":"json_schema"},HELLO}"#, "response_format.json_schema"),
            (#"{"model":7,HELLO}"#, "model"), (#"{"temperature":1,"temperature":2,HELLO}"#, nil), ("[]", nil),
            ("", nil), ("{", nil), (#"{"messages":"#, nil), ("\u{FEFF}{}", nil),
        ] as [(String, String?)])
    func refusals(json: String, parameter: String?) throws {
        let json = json.replacing("HELLO", with: hello)
        let error = #expect(throws: RequestError.self) { try openAI(json) }
        #expect(error?.parameter == parameter)
        #expect(error?.message.isEmpty == false)
    }

    @Test("Nesting is bounded")
    func nesting() {
        let deep = String(repeating: "[", count: 5000) + String(repeating: "]", count: 5000)
        #expect(throws: RequestError.self) { try openAI(#"{"x":\#(deep),\#(hello)}"#) }
    }

    @Test("vLLM's ways to ask for a form")
    func forms() throws {
        #expect(
            try openAI(#"{"guided_choice":["a","b"],\#(hello)}"#).parameters.format == .choice(["a", "b"]))
        #expect(
            try openAI(#"{"guided_regex":"[0-9]+",\#(hello)}"#).parameters.format
                == .regularExpression("[0-9]+"))
        #expect(
            try openAI(#"{"structured_outputs":{"json":{"a":[1.5,"\n\"",true,null]}},\#(hello)}"#)
                .parameters.format == .jsonSchema(#"{"a":[1.5,"\u000a\"",true,null]}"#))
        #expect(
            try openAI(#"{"response_format":{"type":"json_object"},\#(hello)}"#).parameters.format
                == .jsonObject)
        #expect(try openAI(#"{"response_format":{"type":"text"},\#(hello)}"#).parameters.format == nil)
    }

    @Test("Ollama's options, images and durations")
    func ollama() throws {
        let request = try Ollama.chatRequest(
            Data(
                #"""
                {"model":"m","messages":[{"role":"user","content":"Hello","images":["AQ==","data:;base64,Ag=="]}],
                 "prompt":[],"system":"","think":false,"keep_alive":"1h30m","format":{"type":"object"},
                 "options":{"num_predict":-1,"temperature":0,"top_k":40,"repeat_penalty":1.1,"num_ctx":4096,
                 "stop":["a"]}}
                """#.utf8))
        #expect(request.chat.images == [.data(Data([1])), .data(Data([2]))])
        #expect(request.chat.streams && !request.isEmpty && request.keepAlive == 5400)
        #expect(request.chat.parameters.maximumTokens == nil && request.chat.parameters.topK == 40)
        #expect(request.chat.parameters.format == .jsonSchema(#"{"type":"object"}"#))
        // What stands beside the messages changes nothing, as in Ollama, but is named.
        #expect(Set(request.chat.ignored) == ["think", "options.num_ctx", "prompt", "system"])
        let generate = try Ollama.generateRequest(
            Data(#"{"model":"m","prompt":"P","system":"S","images":["AQ=="],"stream":false}"#.utf8))
        #expect(generate.chat.messages.map(\.role) == [.system, .user] && !generate.chat.streams)
        #expect(try Ollama.generateRequest(Data(#"{"model":"m"}"#.utf8)).isEmpty)
        for (text, seconds) in [
            ("5m", 300.0), ("-1", -1), ("10s", 10), ("1.5h", 5400), ("300ms", 0.3), ("-1m", -60),
        ] {
            #expect(Ollama.duration(text) == seconds)
        }
        for text in ["", "m", "5x", "-", "5m5", "nan"] { #expect(Ollama.duration(text) == nil, "\(text)") }
    }

    @Test("Embeddings take images in all the forms")
    func embeddings() throws {
        for input in [
            #""data:;base64,AQ==""#, #"["AQ=="]"#, #"[{"image":"AQ=="}]"#,
            #"[{"type":"image_url","image_url":{"url":"AQ=="}}]"#,
        ] {
            let request = try OpenAI.embeddingRequest(Data(#"{"input":\#(input)}"#.utf8))
            #expect(request.images == [.data(Data([1]))] && !request.isBase64)
        }
        for input in ["[]", "5", #""what is a cat?""#, "[[1,2]]"] {
            #expect(throws: RequestError.self) {
                try OpenAI.embeddingRequest(Data(#"{"input":\#(input)}"#.utf8))
            }
        }
    }
}
