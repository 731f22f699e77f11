package import Foundation
package import Tensors

/// Every tensor of a checkpoint, from one file or many, by stored name. Headers only.
package struct TensorCatalog: Sendable {
    package let files: [any TensorStore]
    /// By stored name.
    package let tensors: [String: StoredTensor]
    /// Things worth telling that are no errors.
    package let remarks: [CheckpointRemark]

    /// Total bytes of the files.
    package var byteCount: Int { files.reduce(0) { $0 + $1.storage.count } }

    /// Opens the weights of a folder; see ``SafetensorsSelection`` for which files these are.
    /// - Throws: `CheckpointError` when there are no such files, or they contradict one another.
    package init(directory: URL) throws(CheckpointError) {
        let selection = try SafetensorsSelection(directory: directory)
        var files: [SafetensorsFile] = []
        for (index, name) in selection.names.enumerated() {
            files.append(try SafetensorsFile(contentsOf: directory.appending(path: name), index: index))
        }
        try self.init(files: files, remarks: selection.remarks)
        try selection.check(against: tensors)
    }

    /// - Parameter files: whose tensors have their file's index here as their `fileIndex`.
    /// - Throws: `CheckpointError.duplicateTensor` where two of the files hold a tensor of one name.
    init(files: [any TensorStore], remarks: [CheckpointRemark] = []) throws(CheckpointError) {
        self.files = files
        self.remarks = remarks
        tensors = try Self.merge(files)
    }

    /// A zero-copy view of a stored tensor.
    package func tensor(_ stored: StoredTensor) throws(CheckpointError) -> Tensor {
        try files[stored.fileIndex].tensor(stored)
    }

    /// The bytes of a stored tensor. Valid while the catalog's files live.
    package func bytes(of stored: StoredTensor) -> UnsafeRawBufferPointer {
        files[stored.fileIndex].bytes(of: stored)
    }

    /// Checks that nobody wrote into the files since they were opened.
    /// - Throws: `CheckpointError.changedFile`.
    package func checkUnchanged() throws(CheckpointError) {
        for file in files { try file.checkUnchanged() }
    }

    private static func merge(_ files: [any TensorStore]) throws(CheckpointError) -> [String: StoredTensor] {
        var tensors: [String: StoredTensor] = [:]
        for file in files {
            for tensor in file.tensors {
                if let other = tensors.updateValue(tensor, forKey: tensor.name) {
                    throw .duplicateTensor(
                        tensor: "tensor \(tensor.name)", first: "a part of \(other.file)",
                        second: "one of \(tensor.file)")
                }
            }
        }
        return tensors
    }
}
