#pragma once

// Just enough of the ONNX protobuf encoding to write a model of a few nodes (field numbers of onnx.proto).

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace ortqlora::test {

class Message {
 public:
  Message& Integer(int field, int64_t value) {
    Key(field, 0);
    Varint(static_cast<uint64_t>(value));
    return *this;
  }
  Message& Bytes(int field, const std::string& bytes) {
    Key(field, 2);
    Varint(bytes.size());
    text_ += bytes;
    return *this;
  }
  Message& Float(int field, float value) {
    Key(field, 5);
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Message& Nested(int field, const Message& message) { return Bytes(field, message.text_); }
  const std::string& text() const { return text_; }

 private:
  void Key(int field, int wire_type) { Varint(static_cast<uint64_t>(field << 3 | wire_type)); }
  void Varint(uint64_t value) {
    for (; value >= 128; value >>= 7) text_ += static_cast<char>(value | 128);
    text_ += static_cast<char>(value);
  }
  std::string text_;
};

// Element types as ONNX numbers them.
enum Type : int { kFloat32 = 1, kUint8 = 2, kInt8 = 3, kInt64 = 7, kFloat16 = 10, kDouble = 11, kBfloat16 = 16 };

struct Tensor {
  std::string name;
  Type type;
  std::vector<int64_t> shape;  // -1: symbolic; values only: known
  std::string data;
};

template <typename T>
std::string Raw(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

class NodeWriter {
 public:
  NodeWriter(const std::string& op, const std::string& name, const std::vector<std::string>& inputs,
             const std::vector<std::string>& outputs) {
    for (const std::string& input : inputs) node_.Bytes(1, input);
    for (const std::string& output : outputs) node_.Bytes(2, output);
    node_.Bytes(3, name).Bytes(4, op).Bytes(7, "ortqlora");
  }
  NodeWriter& Set(const std::string& attribute, int64_t value) {
    node_.Nested(5, Message().Bytes(1, attribute).Integer(3, value).Integer(20, 2));
    return *this;
  }
  NodeWriter& Set(const std::string& attribute, const std::string& value) {
    node_.Nested(5, Message().Bytes(1, attribute).Bytes(4, value).Integer(20, 3));
    return *this;
  }
  NodeWriter& Set(const std::string& attribute, int value) { return Set(attribute, int64_t{value}); }
  NodeWriter& Set(const std::string& attribute, float value) {
    node_.Nested(5, Message().Bytes(1, attribute).Float(2, value).Integer(20, 1));
    return *this;
  }
  const Message& message() const { return node_; }

 private:
  Message node_;
};

// A graph of ops of the domain ortqlora.
class ModelWriter {
 public:
  ModelWriter& Node(const NodeWriter& node) {
    graph_.Nested(1, node.message());
    return *this;
  }
  ModelWriter& Initializer(const Tensor& tensor) {
    Message message;
    for (int64_t size : tensor.shape) message.Integer(1, size);
    message.Integer(2, tensor.type).Bytes(8, tensor.name).Bytes(9, tensor.data);
    graph_.Nested(5, message);
    return *this;
  }
  ModelWriter& Input(const Tensor& tensor) { return Value(11, tensor); }
  ModelWriter& Output(const Tensor& tensor) { return Value(12, tensor); }
  ModelWriter& OutputOfAnyShape(const std::string& name, Type type) {
    graph_.Nested(12, Message().Bytes(1, name).Nested(2, Message().Nested(1, Message().Integer(1, type))));
    return *this;
  }

  std::string Write() const {
    Message graph = graph_;
    graph.Bytes(2, "test");
    Message model;
    model.Integer(1, 8).Nested(7, graph);
    model.Nested(8, Message().Bytes(1, "").Integer(2, 17));
    model.Nested(8, Message().Bytes(1, "ortqlora").Integer(2, 1));
    return model.text();
  }

 private:
  ModelWriter& Value(int field, const Tensor& tensor) {
    Message shape;
    for (int64_t size : tensor.shape) {
      shape.Nested(1, size < 0 ? Message().Bytes(2, "rows") : Message().Integer(1, size));
    }
    const Message type = Message().Nested(1, Message().Integer(1, tensor.type).Nested(2, shape));
    graph_.Nested(field, Message().Bytes(1, tensor.name).Nested(2, type));
    return *this;
  }

  Message graph_;
};

}  // namespace ortqlora::test
