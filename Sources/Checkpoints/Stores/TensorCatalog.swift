package import Tensors

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// Every tensor of a checkpoint, from one file or many, by stored name. Headers only.
package struct TensorCatalog: Sendable {
    package let files: [any TensorStore]
    /// By stored name.
    package let tensors: [String: StoredTensor]
    /// Things worth telling that are no errors.
    package let remarks: [CheckpointRemark]
    /// How many of the files, the first ones, are the checkpoint's; those behind them hold a vision tower of another folder.
    let ownFiles: Int

    /// Total bytes of the files.
    package var byteCount: Int { files.reduce(0) { $0 + $1.storage.count } }

    /// Opens the weights of a folder; see ``SafetensorsSelection`` for which files these are.
    /// - Parameter tower: a folder with a vision tower for it
    /// - Throws: `CheckpointError` when there are no such files, or they contradict one another.
    package init(directory: URL, tower: URL? = nil) throws(CheckpointError) {
        var (files, remarks) = try Self.open(directory, behind: 0)
        let ownFiles = files.count
        if let tower {
            let (others, further) = try Self.open(tower, behind: ownFiles)
            files += others
            remarks += further
        }
        try self.init(files: files, remarks: remarks, ownFiles: ownFiles)
    }

    /// - Parameter count: files that come before, in errors of which a folder's name is left out.
    private static func open(
        _ directory: URL, behind count: Int
    ) throws(CheckpointError) -> ([SafetensorsFile], [CheckpointRemark]) {
        let selection = try SafetensorsSelection(directory: directory)
        let prefix = count == 0 ? "" : directory.lastPathComponent + "/"
        var files: [SafetensorsFile] = []
        for (index, name) in selection.names.enumerated() {
            files.append(
                try SafetensorsFile(
                    contentsOf: directory.appending(path: name), index: count + index, name: prefix + name))
        }
        try selection.check(against: merge(files), prefix: prefix)
        return (files, selection.remarks)
    }

    /// - Parameter files: whose tensors have their file's index here as their `fileIndex`.
    /// - Throws: `CheckpointError.duplicateTensor` where two of the files hold a tensor of one name.
    init(
        files: [any TensorStore], remarks: [CheckpointRemark] = [], ownFiles: Int? = nil
    ) throws(CheckpointError) {
        self.files = files
        self.remarks = remarks
        self.ownFiles = ownFiles ?? files.count
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
