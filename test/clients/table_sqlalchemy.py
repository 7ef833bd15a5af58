"""An application with SQLAlchemy's ORM on a table of its own, message: nothing in it knows of chatcrypt.
PGHOST, PGPORT, PGDATABASE and PGUSER say where."""
from sqlalchemy import BigInteger, ForeignKey, Integer, Text, create_engine, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from shown import error_of, show

engine = create_engine('postgresql+psycopg://')


class Base(DeclarativeBase):
    pass


class Chat(Base):
    __tablename__ = 'chat'
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    topic: Mapped[str] = mapped_column(Text)
    messages: Mapped[list['Message']] = relationship(back_populates='chat', order_by='Message.id')


class Message(Base):
    __tablename__ = 'message'
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    chat_id: Mapped[int] = mapped_column(ForeignKey('chat.id'))
    body: Mapped[str | None] = mapped_column(Text)
    likes: Mapped[int] = mapped_column(Integer, default=0)
    chat: Mapped[Chat] = relationship(back_populates='messages')


ALL = select(Message.id, Message.chat_id, Message.body, Message.likes).order_by(Message.id)

with Session(engine) as s:
    def rows(query=ALL):
        return [tuple(row) for row in s.execute(query)]

    show('what is there', rows())
    made = Message(chat_id=1, body='secret made')
    s.add(made)
    s.flush()
    show('add', [made.id, made.body, made.likes])
    s.add_all([Message(chat_id=1 + n % 3, body=f'secret {n} of many') for n in range(40)])
    s.commit()
    show('add_all', s.scalar(select(func.count()).where(Message.body.like('% of many'))))
    show('insert of many, returning', sorted(s.scalars(insert(Message).returning(Message.body), [{'chat_id': 2, 'body': f'secret r{n}'} for n in range(5)])))
    upsert = pg_insert(Message).values([{'id': 1, 'chat_id': 1, 'body': 'secret up'}, {'id': 501, 'chat_id': 2, 'body': 'secret 501'}])
    show('upsert', [tuple(row) for row in s.execute(upsert.on_conflict_do_update(index_elements=['id'], set_={'body': upsert.excluded.body + '!'})
                                                   .returning(Message.id, Message.body, text('(xmax = 0)')))])
    show('upsert where it differs', [tuple(row) for row in s.execute(upsert.on_conflict_do_update(
        index_elements=['id'], set_={'body': upsert.excluded.body}, where=Message.body != upsert.excluded.body + '!').returning(Message.id))])
    show('upsert that does nothing', s.execute(upsert.on_conflict_do_nothing()).rowcount)
    show('merge', [s.merge(Message(id=502, chat_id=3, body=body)).body for body in ('secret one', 'secret two')])
    one = s.get(Message, 2)
    one.body += ' and saved'
    s.flush()
    s.refresh(one)
    show('unit of work', one.body)
    one.likes = 7
    s.commit()
    show('another column', [one.body, one.likes])
    show('update of many', s.execute(update(Message).where(Message.chat_id == 2).values(likes=Message.likes + 1)).rowcount)
    show('update, returning', sorted(tuple(row) for row in s.execute(update(Message).where(Message.id < 4).values(body=Message.body + ' more').returning(Message.id, Message.body))))
    show('update by rows', s.execute(update(Message), [{'id': 4, 'body': 'secret four'}, {'id': 5, 'body': None}]) is not None)
    show('update from another table', s.execute(update(Message).where(Message.chat_id == Chat.id, Message.id == 6).values(body=Chat.topic + ': ' + Message.body)).rowcount)
    show('rows after updates', rows())
    for name, condition in {'=': Message.body == 'secret 7', 'ilike': Message.body.ilike('SECRET%MANY'), 'in': Message.body.in_(['secret 8', 'secret 9']),
                            'is null': Message.body.is_(None), 'between': Message.body.between('secret 1', 'secret 3'), 'regexp': Message.body.regexp_match('[13]$')}.items():
        show(f'where {name}', list(s.scalars(select(Message.id).where(condition).order_by(Message.id))))
    show('functions', rows(select(Message.id, func.length(Message.body), func.upper(Message.body), func.md5(Message.body)).order_by(Message.id).limit(6)))
    show('groups', rows(select(Message.chat_id, func.count(Message.body), func.max(Message.body)).group_by(Message.chat_id).order_by(Message.chat_id)))
    show('window', rows(select(Message.id, func.lag(Message.body).over(partition_by=Message.chat_id, order_by=Message.id)).order_by(Message.id).limit(8)))
    show('join', rows(select(Chat.topic, Message.body).join(Message).where(Message.id < 4).order_by(Message.id)))
    show('selectinload', [[m.body for m in c.messages][:3] for c in s.scalars(select(Chat).options(selectinload(Chat.messages)).order_by(Chat.id))])
    show('yield_per', [row.body for row in s.execute(ALL.execution_options(yield_per=5))][:20])
    show('whole rows', list(s.scalars(text('SELECT row_to_json(m)::text FROM message AS m ORDER BY id LIMIT 3'))))
    recent = select(Message.id, Message.body).where(Message.id > 20).cte('recent')
    show('CTE', rows(select(recent).where(recent.c.body.like('%1%')).order_by(recent.c.id)))
    held = s.scalars(select(Message).where(Message.id == 7).with_for_update(skip_locked=True)).one()
    held.body += ' held'
    nested = s.begin_nested()
    s.execute(update(Message).where(Message.id == 8).values(body='lost'))
    nested.rollback()
    s.commit()
    show('lock and savepoint', rows(ALL.where(Message.id.in_([7, 8]))))
    s.commit()
    show('an error of uniqueness', error_of(lambda: s.execute(insert(Message).values(id=1, chat_id=1, body='double'))))
    s.rollback()
    show('delete by the body', s.execute(delete(Message).where(Message.body.like('secret 2% of many')).execution_options(synchronize_session=False)).rowcount)
    s.delete(s.get(Message, 2))
    s.commit()
    show('rows in the end', rows())

with engine.connect() as c:
    raw = c.connection.cursor(binary=True)
    show('binary results', raw.execute('SELECT id, body FROM message WHERE id < 9 ORDER BY id').fetchall())
    show('types', [d.type_code for d in raw.description])
